"""Note what each image of the documentation was made by, so that a test can tell when it is out of date."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from edge.core.files import file_digest
from edge.core.palette import COLOUR_OF_CLASS, FURTHER_COLOURS, MARK, stylesheet

HERE: Final = Path(__file__).resolve().parent
NOTES: Final = HERE / "made.json"
BUNDLE: Final = HERE.parents[1] / "edge" / "demo_bundle" / "bundle.json"
"""It holds the digest of the network, and the thresholds."""


class Shows(NamedTuple):
    """Say what the images of a program depend on besides itself.

    Attributes:
        model: they show what the shipped model reports.
        page: they show a page.
    """

    model: bool = False
    page: bool = False


PROGRAMS: Final = {
    "selvedge.py": Shows(),
    "kinds.py": Shows(),
    "looks.py": Shows(),
    "found.py": Shows(model=True),
    "page.py": Shows(model=True, page=True),
    "page_article.py": Shows(model=True, page=True),
    "roll.py": Shows(model=True, page=True),
    "review.py": Shows(page=True),
}


def note(image: Path, program: str) -> None:
    """Write down the digests of an image and of what made it; others stay as they are noted.

    Args:
        image: just written.
        program: file name of what drew it, in this folder.
    """
    notes = json.loads(NOTES.read_text(encoding="utf-8")) if NOTES.exists() else {}
    notes[image.name] = digests(image, program)
    NOTES.write_text(json.dumps(dict(sorted(notes.items())), indent=1) + "\n", encoding="utf-8")


def digests(image: Path, program: str) -> dict[str, str]:
    """Return the program of an image, and the SHA-256 of all that it depends on."""
    shows = PROGRAMS[program]
    colours = repr((COLOUR_OF_CLASS, FURTHER_COLOURS, MARK)) + (stylesheet() if shows.page else "")
    found = {
        "program": program,
        "image_sha256": file_digest(image),
        "settings_sha256": file_digest(HERE / program),
        "colours_sha256": sha256(colours.encode()).hexdigest(),
    }
    return found | ({"bundle_sha256": file_digest(BUNDLE)} if shows.model else {})

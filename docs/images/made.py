"""Note what each image of the documentation was made by, so that a test can tell when it is out of date."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Final

from edge.core.files import file_digest
from edge.core.palette import COLOUR_OF_CLASS, FURTHER_COLOURS, SERIES, stylesheet

HERE: Final = Path(__file__).resolve().parent
NOTES: Final = HERE / "made.json"
BUNDLE: Final = HERE.parents[1] / "edge" / "demo_bundle" / "bundle.json"
"""It holds the digest of the network, and the thresholds."""


def note(image: Path, program: str, *, by_the_model: bool) -> None:
    """Write down the digests of an image and of what made it; others stay as they are noted.

    Args:
        image: just written.
        program: file name of what drew it, in this folder.
        by_the_model: whether it shows what the shipped model reports.
    """
    notes = json.loads(NOTES.read_text(encoding="utf-8")) if NOTES.exists() else {}
    notes[image.name] = {"program": program, **digests(image, program, by_the_model=by_the_model)}
    NOTES.write_text(json.dumps(dict(sorted(notes.items())), indent=1) + "\n", encoding="utf-8")


def digests(image: Path, program: str, *, by_the_model: bool) -> dict[str, str | None]:
    """Return the SHA-256 of an image, of its settings, of the colours, and of the bundle if it shows it."""
    colours = stylesheet() + repr((COLOUR_OF_CLASS, FURTHER_COLOURS, SERIES))
    return {
        "image_sha256": file_digest(image),
        "settings_sha256": file_digest(HERE / program),
        "palette_sha256": sha256(colours.encode()).hexdigest(),
        "bundle_sha256": file_digest(BUNDLE) if by_the_model else None,
    }

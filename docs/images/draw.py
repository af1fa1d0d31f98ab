"""Draw the images of the documentation that need no browser.

Run `python docs/images/draw.py` in the root of the repository, or `make images` for all. It needs the base
packages alone. Names of images draw only these. `--measure` prints what docs/benchmarks/preprocessing.md
quotes and draws nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
from canvas import save
from found import draw_found
from kinds import draw_kinds
from looks import draw_looks
from selvedge import (
    SHOWN_SEED,
    Scene,
    draw_histograms,
    draw_selvedge,
    draw_shift,
    print_measured,
    weave_scene,
)

from edge.core.image import Image

HERE = Path(__file__).resolve().parent


class Drawn(NamedTuple):
    """Say how an image is drawn.

    Attributes:
        program: module in this folder.
        draw: returns it; the same every time.
    """

    program: str
    draw: Callable[[], Image]


@cache
def scene() -> Scene:
    """Return the cloth beside a selvedge that three of the images show."""
    found = weave_scene(SHOWN_SEED)
    if found is None:
        raise ValueError(f"roll {SHOWN_SEED} has no spot near its selvedge: choose another SHOWN_SEED")
    return found


IMAGES = {
    "selvedge.jpg": Drawn("selvedge.py", lambda: draw_selvedge(scene())),
    "selvedge-shift.jpg": Drawn("selvedge.py", lambda: draw_shift(scene())),
    "histograms.png": Drawn("selvedge.py", lambda: draw_histograms(scene())),
    "defects.jpg": Drawn("kinds.py", draw_kinds),
    "defects-woven.jpg": Drawn("kinds.py", lambda: draw_kinds("woven")),
    "looks.jpg": Drawn("looks.py", draw_looks),
    "found.jpg": Drawn("found.py", draw_found),
}


def main() -> None:
    """Draw all images, or those that are named."""
    cv2.setNumThreads(1)
    if "--measure" in sys.argv[1:]:
        print_measured(scene())
        return
    for name in sys.argv[1:] or IMAGES:
        drawn = IMAGES[name]
        save(HERE / name, drawn.draw(), drawn.program)


if __name__ == "__main__":
    main()

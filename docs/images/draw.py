"""Draw the images of the documentation and print what was measured on them.

Run `python docs/images/draw.py` in the root of the repository. It needs the base packages alone.
"""

from __future__ import annotations

from pathlib import Path

import cv2
from canvas import save
from found import draw_found
from kinds import draw_kinds
from looks import draw_looks
from selvedge import SHOWN_SEED, draw_histograms, draw_selvedge, draw_shift, print_measured, weave_scene

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Draw every image; the same every time."""
    cv2.setNumThreads(1)
    scene = weave_scene(SHOWN_SEED)
    if scene is None:
        raise ValueError(f"roll {SHOWN_SEED} has no spot near its selvedge: choose another SHOWN_SEED")
    save(HERE / "selvedge.jpg", draw_selvedge(scene))
    save(HERE / "selvedge-shift.jpg", draw_shift(scene))
    save(HERE / "histograms.png", draw_histograms(scene))
    save(HERE / "defects.jpg", draw_kinds())
    save(HERE / "defects-woven.jpg", draw_kinds("woven"))
    save(HERE / "looks.jpg", draw_looks())
    save(HERE / "found.jpg", draw_found())
    print_measured(scene)


if __name__ == "__main__":
    main()

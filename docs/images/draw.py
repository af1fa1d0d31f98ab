"""Draw the images of the documentation that need no browser.

Run `python docs/images/draw.py` in the root of the repository, or `make images` for all. It needs the base
packages alone. With `--measure` it prints what docs/benchmarks/preprocessing.md quotes and draws nothing.
"""

from __future__ import annotations

import sys
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
    if "--measure" in sys.argv[1:]:
        print_measured(scene)
        return
    save(HERE / "selvedge.jpg", draw_selvedge(scene), "selvedge.py")
    save(HERE / "selvedge-shift.jpg", draw_shift(scene), "selvedge.py")
    save(HERE / "histograms.png", draw_histograms(scene), "selvedge.py")
    save(HERE / "defects.jpg", draw_kinds(), "kinds.py")
    save(HERE / "defects-woven.jpg", draw_kinds("woven"), "kinds.py")
    save(HERE / "looks.jpg", draw_looks(), "looks.py")
    save(HERE / "found.jpg", draw_found(), "found.py", by_the_model=True)


if __name__ == "__main__":
    main()

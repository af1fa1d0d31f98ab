"""Measure how fast the simulated loom weaves on one core, against copying as many bytes.

Usage: python docs/benchmarks/loom.py OUT.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge.backends.probe import processor_name
from edge.cameras.loom import LoomCamera
from edge.simulator.options import parse_loom_options

ROUNDS = 5
BLOCKS = 200
ROLLS = (
    "loom:seed=1,width_px=2048",
    "loom:seed=1,width_px=2048,defects_per_m=20",
    "loom:seed=1,width_px=4096,weave=twill",
    "loom:seed=1,width_px=2048,colour=true",
    "loom:seed=1,width_px=2048,scan=area,height_px=1080",
)


def mpx_per_s(once: Callable[[], int]) -> float:
    """Call a function that returns the pixels it made, and return millions of them per second."""
    begin_s, pixels = time.perf_counter(), 0
    for _ in range(BLOCKS):
        pixels += once()
    return pixels / (time.perf_counter() - begin_s) / 1e6


def measure(spec: str) -> dict[str, object]:
    """Weave and copy in turn; return both rates, and the ratio of each round."""
    with LoomCamera(parse_loom_options(spec)) as camera:
        first = camera.read()
        assert first is not None, "the roll is endless"
        source, target = first.image, np.empty_like(first.image)
        pixels = int(target.shape[0] * target.shape[1])

        def copy() -> int:
            np.copyto(target, source)
            return pixels

        def weave() -> int:
            camera.read()
            return pixels

        rounds = [(mpx_per_s(weave), mpx_per_s(copy)) for _ in range(ROUNDS)]
    return {
        "roll": spec,
        "loom_mpx_per_s": [round(woven, 1) for woven, _ in rounds],
        "copy_mpx_per_s": [round(copied, 1) for _, copied in rounds],
        "ratio": [round(woven / copied, 4) for woven, copied in rounds],
    }


def main() -> None:
    """Print and write the rates."""
    cv2.setNumThreads(1)
    rows = [measure(spec) for spec in ROLLS]
    for row in rows:
        print(f"{min(row['loom_mpx_per_s']):8.1f} Mpx/s at worst  {row['roll']}")  # type: ignore[call-overload]
    result = {"processor": processor_name(), "rolls": rows}
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

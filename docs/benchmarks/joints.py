"""Measure how many sewn joints are found on simulated rolls, and how much else is taken for one.

`python docs/benchmarks/joints.py docs/benchmarks/joints.json`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2

from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.cloth.joints import JointFinder

WIDTH_PX, LINES = 2048, 400
BEFORE_M, BEHIND_M = 0.005, 0.02
"""A joint is found if a roll begins so near to its end."""


def looked(seed: int, length_m: float, more: str) -> tuple[list[float], list[float]]:
    """Return where rolls begin, and where joints end."""
    camera = LoomCamera(
        parse_loom_options(
            f"loom:seed={seed},width_px={WIDTH_PX},lines_per_block={LINES},length_m={length_m}{more}"
        )
    )
    finder, found = JointFinder(1.0), []
    with camera:
        while (frame := camera.read()) is not None and frame.position is not None:
            row = finder.look(frame.image, frame.position)
            if row is not None:
                found.append(frame.position.along_m + row * frame.position.mm_per_px_along / 1000)
        ground_truth = [joint.along_m[1] for joint in camera.joints_up_to(length_m)]
    return found, ground_truth


def main() -> None:
    """Write the counts as JSON."""
    cv2.setNumThreads(1)
    planted = hits = false = 0
    apart_mm: list[float] = []
    for seed in range(1, 13):
        found, ground_truth = looked(seed, 9, ",defects_per_m=3,joints_m=1.5+3.0+4.5+6.0+7.5")
        near = [[at for at in found if -BEFORE_M <= at - end <= BEHIND_M] for end in ground_truth]
        planted, hits = planted + len(ground_truth), hits + sum(map(bool, near))
        false += len(found) - sum(map(len, near))
        apart_mm += [(at[0] - end) * 1000 for at, end in zip(near, ground_truth, strict=True) if at]
    rolls = []
    for seed in range(21, 31):
        kinds = ",categories=broken_pick" if seed % 2 else ""
        found, _ = looked(seed, 20, f",defects_per_m=4{kinds}")
        rolls.append({"seed": seed, "metres": 20, "false": len(found)})
    result = {
        "joints": {"planted": planted, "found": hits, "false": false},
        "behind_mm": [round(min(apart_mm), 1), round(max(apart_mm), 1)],
        "without_joints": rolls,
    }
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

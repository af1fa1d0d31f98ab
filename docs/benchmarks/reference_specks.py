"""Draw specks of 2 to 5 px into clean strips: how many does the reference model find?

Usage: python docs/benchmarks/reference_specks.py TEACH OUT.json [--leave-out NAME ...] [--seed 5]

TEACH holds clean strips whose names end with the fabric. Twelve specks are drawn into each, brighter or
darker than the cloth by 1.5, 2.5 or 3.5 of its own standard deviations within 97 px. Levels are set as in
reference_folds.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from reference import Strip, by_fabric, read_strips
from reference_folds import Planted, measure
from reference_variants import changed

from edge.reference import specks

SPECKS, LEAST_APART_PX, SIDES_PX = 12, (80, 60), (2.0, 5.5)
DEVIATIONS = (1.5, 2.5, 3.5)
AROUND_PX, REACH_PX = 97, 10

VARIANTS: Mapping[str, Callable[[], Any]] = {
    "as shipped": changed,
    "no specks": partial(changed, without=("speck",)),
    **{f"spot of {px:g} px": partial(changed, (specks, "SPOT_PX", px)) for px in (0.8, 1.2, 2.5)},
}


def with_specks(strip: Strip, random: np.random.Generator) -> Planted:
    """Draw specks on the cloth of a strip."""
    image = strip.image.astype(np.float32)
    mean = cv2.blur(image, (AROUND_PX, AROUND_PX))
    spread = np.sqrt(np.maximum(cv2.blur(image**2, (AROUND_PX, AROUND_PX)) - mean**2, 4))
    inner = cv2.erode(strip.is_cloth.astype(np.uint8), np.ones((33, 121), np.uint8)) > 0
    boxes: list[list[float]] = []
    for at in random.permutation(np.flatnonzero(inner)):
        y, x = np.array(divmod(int(at), image.shape[1])) + random.random(2)
        if all(
            abs(x - box[0]) >= LEAST_APART_PX[0] or abs(y - box[1]) >= LEAST_APART_PX[1] for box in boxes
        ):
            width, height = random.uniform(*SIDES_PX, 2)
            by = random.choice([-1, 1]) * random.choice(DEVIATIONS)
            _draw(image, spread, (x, y), (width, height), by)
            boxes.append(
                [x - width / 2 - 0.5, y - height / 2 - 0.5, x + width / 2 + 0.5, y + height / 2 + 0.5]
            )
        if len(boxes) == SPECKS:
            break
    drawn = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Planted(Strip(strip.name, drawn, strip.is_cloth), strip.name, np.array(boxes, np.float32))


def _draw(
    image: Any, spread: Any, at_xy: tuple[float, float], size_wh: tuple[float, float], by: float
) -> None:
    rows, columns = (slice(max(0, int(side) - REACH_PX), int(side) + REACH_PX) for side in at_xy[::-1])
    y, x = (
        np.mgrid[rows, columns][:, : image[rows, columns].shape[0], : image[rows, columns].shape[1]] + 0.5
    )
    radius = np.hypot(2 * (x - at_xy[0]) / size_wh[0], 2 * (y - at_xy[1]) / size_wh[1])
    image[rows, columns] += np.clip(1.25 - 0.75 * radius, 0, 1) * by * spread[rows, columns]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("teach", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--leave-out", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    random = np.random.default_rng(given.seed)
    clean = by_fabric(
        strip for strip in read_strips(given.teach) if Path(strip.name).stem not in given.leave_out
    )
    planted = {fabric: [with_specks(strip, random) for strip in strips] for fabric, strips in clean.items()}
    result = {}
    for name, variant in VARIANTS.items():
        with variant() as trunk:
            result[name] = measure(clean, planted, trunk)
        print(name, result[name], flush=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Time the regions of general instances, there and back, against torchvision's ROIAlign in the same run.

Usage: python docs/benchmarks/regions.py OUT.json [--sizes 160 256 640] [--batch 8] [--rounds 7]

Maps of the widths of YOLOv5l, channels last, as a feature loss reads them in training; ten instances in
each image.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torchvision.ops
from torch import Tensor

from distill.gid.roi_align import REGION_CELLS, SAMPLES_PER_CELL, roi_align
from edge.backends.probe import processor_name

CHANNELS_BY_STRIDE = {8: 256, 16: 512, 32: 1024}
INSTANCES = 10


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[160, 256, 640])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    result = {
        "processor": processor_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": arguments.batch,
        "sizes": {size: measured(size, arguments.batch, arguments.rounds) for size in arguments.sizes},
    }
    text = json.dumps(result, indent=1)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def measured(size_px: int, batch: int, rounds: int) -> dict[str, Any]:
    """Time both by turns, after a round that does not count."""
    torch.manual_seed(0)
    levels = [
        (torch.rand(batch, channels, size_px // stride, size_px // stride), 1 / stride)
        for stride, channels in CHANNELS_BY_STRIDE.items()
    ]
    corners = torch.rand(batch * INSTANCES, 2, 2).sort(dim=1).values.flatten(1) * size_px
    rois = torch.cat([torch.arange(batch).repeat_interleave(INSTANCES)[:, None].float(), corners], dim=1)
    ways: dict[str, Callable[[Tensor, float], Tensor]] = {
        "torchvision": partial(_torchvisions, rois),
        "ours": lambda level, scale: roi_align(level, rois, REGION_CELLS, scale, SAMPLES_PER_CELL),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            taken_s = there_and_back_s(levels, way)
            if turn:
                times[name].append(round(taken_s, 4))
    ratios = [theirs / ours for theirs, ours in zip(times["torchvision"], times["ours"], strict=True)]
    return {"seconds": times, "times_as_fast": round(median(ratios), 2)}


def _torchvisions(rois: Tensor, level: Tensor, scale: float) -> Tensor:
    found: Tensor = torchvision.ops.roi_align(
        level, rois, REGION_CELLS, scale, SAMPLES_PER_CELL, aligned=True
    )
    return found


def there_and_back_s(levels: list[tuple[Tensor, float]], way: Callable[[Tensor, float], Tensor]) -> float:
    """Cut from all levels, compare with nothing by squared error, and go back."""
    maps = [
        (level.to(memory_format=torch.channels_last).requires_grad_(), scale) for level, scale in levels
    ]
    begin_s = time.perf_counter()
    torch.stack([way(*level).square().mean() for level in maps]).sum().backward()
    return time.perf_counter() - begin_s


if __name__ == "__main__":
    main()

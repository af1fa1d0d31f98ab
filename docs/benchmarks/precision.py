"""Train in float32 and in bf16 by turns, and compare how many tiles a second each takes.

Usage: python docs/benchmarks/precision.py OUT.json [--scale s] [--size 256] [--batch 8] [--rounds 3]

A round is some training steps of each: forward, assignment, loss, backward, optimizer. The tiles are
random: what is measured is the arithmetic.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from distill.detector.build import DetectionTask, build_module
from distill.detector.structure import DetectorStructure
from distill.precision import choose_precision

STEPS = 4


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", default="s")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    result = run(arguments)
    text = json.dumps(result, indent=1)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Alternate between both, after a warm-up."""
    trainers = {name: Trainer(name, arguments) for name in ("float32", "bf16")}
    rates: dict[str, list[float]] = {name: [] for name in trainers}
    for trainer in trainers.values():
        trainer.tiles_per_s()
    for _ in range(arguments.rounds):
        for name, trainer in trainers.items():
            rates[name].append(round(trainer.tiles_per_s(), 2))
    ratios = [bf16 / float32 for float32, bf16 in zip(rates["float32"], rates["bf16"], strict=True)]
    return {
        "scale": arguments.scale,
        "input_px": arguments.size,
        "batch": arguments.batch,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "tiles_per_s": rates,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(median(ratios), 3),
    }


class Trainer:
    """Train a detector on one batch in one precision."""

    def __init__(self, name: Literal["float32", "bf16"], arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        module = build_module(DetectorStructure(scale=arguments.scale, channels=1, classes=3))
        self._module = module.to(memory_format=torch.channels_last).train()
        self._task = DetectionTask(self._module, choose_precision(name, torch.device("cpu")))
        self._optimizer = torch.optim.AdamW(self._module.parameters(), lr=1e-4)
        images = torch.rand(arguments.batch, 1, arguments.size, arguments.size)
        self._images = images.to(memory_format=torch.channels_last)
        boxes = torch.tensor([0.4, 0.5, 0.2, 0.1]).repeat(arguments.batch, 1)
        self._targets = {
            "batch_idx": torch.arange(arguments.batch).float(),
            "cls": torch.ones(arguments.batch, 1),
            "bboxes": boxes,
            "weights": torch.ones(arguments.batch),
        }

    def tiles_per_s(self) -> float:
        """Do some steps."""
        started = time.perf_counter()
        for _ in range(STEPS):
            parts = self._task.loss_parts(self._images, self._targets)
            self._optimizer.zero_grad(set_to_none=True)
            torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        return STEPS * len(self._images) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()

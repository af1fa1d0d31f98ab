"""Train in float32 and in bf16 by turns, and compare how many tiles a second each takes and what it finds.

Usage: python docs/benchmarks/precision.py OUT.json [--scales s l] [--size 256] [--batch 8] [--rounds 5]
           [--folder FOLDER] [--seeds 0 1] [--epochs 15] [--jobs 1]

A round is some training steps of each: forward, assignment, loss, backward, optimizer. The tiles are
random: what is measured is the arithmetic. Then a pico is trained on simulated cloth in each precision,
once for each seed, and scored on images of other seeds; `--seeds` with nothing behind it leaves that out.
With --folder, what is done there already is not done again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from commands import loomsight, run_all
from distillation import CLOTH
from training import score, toml, train, work_folder

from distill.core.precision import choose_precision
from distill.detector.build import DetectionTask, build_module
from distill.settings.structure import DetectorStructure
from edge.backends.probe import processor_features, processor_name

PRECISIONS: tuple[Literal["float32"], Literal["bf16"]] = ("float32", "bf16")
STEPS = 4


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scales", nargs="+", default=["s", "l"])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="train here and keep it  [default: a temporary folder]")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once")
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "amx": "amx_bf16" in processor_features(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "input_px": arguments.size,
        "batch": arguments.batch,
        "speed": {scale: speed(scale, arguments) for scale in arguments.scales},
    }
    if arguments.seeds:
        with work_folder(arguments.folder) as folder:
            result["trained"] = trained(folder, arguments)
    text = json.dumps(result, indent=1)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def speed(scale: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Alternate between both, after a warm-up."""
    trainers = {name: Trainer(name, scale, arguments) for name in PRECISIONS}
    rates: dict[str, list[float]] = {name: [] for name in trainers}
    for trainer in trainers.values():
        trainer.tiles_per_s()
    for _ in range(arguments.rounds):
        for name, trainer in trainers.items():
            rates[name].append(round(trainer.tiles_per_s(), 2))
    ratios = [bf16 / float32 for float32, bf16 in zip(rates["float32"], rates["bf16"], strict=True)]
    return {
        "tiles_per_s": rates,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(median(ratios), 3),
    }


def trained(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Train a pico in each precision, and score it in float32 on unseen images."""
    for name, images, seed, split in (
        ("data", 700, 8301, "train=0.88,val=0.12"),
        ("unseen", 300, 8302, "train=0.01,val=0.99"),
    ):
        if not (folder / name).is_dir():
            command = ["simulate", "--out", name, "--images", str(images), "--seed", str(seed)]
            loomsight(folder, *command, "--split", split, "--size-hw", "160", "160", *CLOTH["article"])
    runs = {f"{name}, seed {seed}": (name, seed) for seed in arguments.seeds for name in PRECISIONS}
    recipe = {
        "scale": "p", "input_size_hw_px": [160, 160], "overlap_px": 0, "epochs": arguments.epochs,
        "batch": 16, "learning_rate": 2e-3, "empty_tile_share": 0.5,
    }  # fmt: skip
    texts = {run: toml({**recipe, "precision": name, "seed": seed}) for run, (name, seed) in runs.items()}
    jobs = [
        partial(train, folder, run.replace(", seed ", "-"), "data", text) for run, text in texts.items()
    ]
    run_all(jobs, arguments.jobs)
    return {run: score(folder / "unseen", folder / run.replace(", seed ", "-") / "best.pt") for run in runs}


class Trainer:
    """Train a detector on one batch in one precision."""

    def __init__(self, name: Literal["float32", "bf16"], scale: str, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        module = build_module(DetectorStructure(scale=scale, channels=1, classes=3))
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
            torch.stack(list(parts.values())).sum().backward()
            self._optimizer.step()
        return STEPS * len(self._images) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()

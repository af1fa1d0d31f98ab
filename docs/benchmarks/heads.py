"""Compare the heads on simulated cloth: one table of quality, size and latency over several seeds.

Usage: python docs/benchmarks/heads.py OUT.json [--seeds 0 1 2] [--size 256] [--scale n] [--epochs 30]
           [--data-images 600] [--batch 16] [--learning-rate 2e-3] [--device cpu] [--threads 0]
           [--folder FOLDER]

Every head trains on the same images of one article by the same recipe; the anchors of the coupled one
come from these images by k-means. Quality is that of the best epoch on images of another seed, which
neither training nor the choice of the epoch has seen. Latency: ONNX Runtime on the processor, in turn.

A row is written as soon as it is there. The same command again goes on where it was stopped: rows that are
done stay, a run that was cut off is resumed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.checkpoint import count_macs, load_detector
from distill.core.progress import ConsoleListener
from distill.core.run_folder import RunFolder
from distill.data.dataset import Dataset, load_dataset
from distill.data.tiles import TilePlan, ground_truth_batches, tile_sides
from distill.detector.anchor_report import rounded
from distill.detector.anchors import fitted
from distill.evaluation.evaluate import validate
from distill.prune.timing import detector_run, interleaved_ms
from distill.settings.recipe import Recipe, load_recipe
from distill.training.train import contract_for, train
from edge.backends.probe import processor_name
from edge.core.errors import INTERRUPTED_EXIT_CODE, LoomsightError
from edge.core.files import write_whole
from edge.core.taxonomy import load_taxonomy
from edge.dataset.options import DatasetOptions
from edge.dataset.writing import write_dataset

HEADS: dict[str, dict[str, Any]] = {
    "coupled, k-means anchors": {"head": "coupled"},
    "decoupled, task-aligned": {"head": "decoupled", "assigner": "task-aligned"},
    "yolox, task-aligned": {"head": "yolox", "assigner": "task-aligned"},
    "yolox, simota": {"head": "yolox", "assigner": "simota"},
}

DATA_SEED, UNSEEN_SEED = 101, 102
ANCHORS = 9
LATENCY_ROUNDS = 200


@dataclass(frozen=True)
class Row:
    """One head trained from one seed."""

    head: str
    seed: int
    map50: float
    map50_95: float
    best_epoch: int
    parameters: int
    macs: int
    minutes: float


def main() -> None:
    """Train what is not there yet, write each row, print the table."""
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    result = _started(arguments)
    folder = arguments.folder or arguments.out.with_suffix("")
    sets = _data_sets(folder, arguments)
    anchors = _anchors(sets[0], _recipe(arguments, 0, {}))
    result["anchors"] = anchors
    done = {(row["head"], row["seed"]) for row in result["rows"]}
    wanted = [(head, seed) for seed in arguments.seeds for head in HEADS]
    for number, (head, seed) in enumerate(wanted, start=1):
        if (head, seed) in done:
            continue
        print(f"[{number}/{len(wanted)}] {head}, seed {seed}", file=sys.stderr, flush=True)
        row = measured(folder, sets, head, _recipe(arguments, seed, _changes(head, anchors)))
        result["rows"].append(asdict(row))
        write_whole(arguments.out, json.dumps(result, indent=1).encode() + b"\n")
    result["latency_p50_ms"] = latencies(folder, sets[1], arguments.seeds[0])
    result["table"] = table(result["rows"], result["latency_p50_ms"])
    write_whole(arguments.out, json.dumps(result, indent=1).encode() + b"\n")
    print(markdown(result["table"]))


def measured(folder: Path, sets: tuple[Dataset, Dataset], head: str, recipe: Recipe) -> Row:
    """Train one head, or go on with it, and measure its best epoch."""
    data, unseen = sets
    classes = load_taxonomy()
    run = run_of(folder, head, recipe.seed)
    is_started = run.last.is_file()
    if not is_started:
        run.open_new()
    contract = contract_for(recipe, classes, data.mm_per_px)
    device = torch.device(_arguments().device)
    with ConsoleListener(recipe.epochs) as listener:
        is_done = train(
            data,
            contract,
            recipe,
            run,
            device=device,
            listener=listener,
            turned_ids=classes.quarter_turned_ids(),
            resume=is_started,
        )
    if not is_done:
        print("Stopped; the same command goes on.", file=sys.stderr)
        sys.exit(INTERRUPTED_EXIT_CODE)
    history = run.read_history()
    detector = load_detector(run.best)
    plan = TilePlan(unseen.val, contract, unseen.mm_per_px, recipe.cache_mb)
    metrics = validate(detector.module.to(device), plan, contract, device)
    detector.module.cpu()
    fitness = [(row["map50"] + row["map50_95"]) / 2 for row in history]
    row = Row(
        head=head,
        seed=recipe.seed,
        map50=round(metrics.map50, 4),
        map50_95=round(metrics.map50_95, 4),
        best_epoch=int(np.argmax(fitness)) + 1,
        parameters=sum(parameter.numel() for parameter in detector.module.parameters()),
        macs=count_macs(detector.module, (contract.channels, *contract.input_size_hw_px)),
        minutes=round(sum(row["seconds"] for row in history) / 60, 2),
    )
    print(f"    mAP50 {row.map50:.3f}  mAP50-95 {row.map50_95:.3f}  {row.minutes:.1f} min", file=sys.stderr)
    return row


def latencies(folder: Path, unseen: Dataset, seed: int) -> dict[str, float]:
    """Time one tile with each head, all in turn: what disturbs the machine disturbs all alike."""
    detectors = [load_detector(run_of(folder, head, seed).best) for head in HEADS]
    contract = detectors[0].contract
    plan = TilePlan(unseen.val, contract, unseen.mm_per_px, cache_mb=64)
    tiles, _ = next(ground_truth_batches(plan, contract, batch=min(16, len(plan.tiles))))
    with ExitStack() as stack:
        opened = [detector_run("onnxruntime", 1, one.module, contract, tiles) for one in detectors]
        runs = [stack.enter_context(one).run for one in opened]
        medians = np.median(interleaved_ms(runs, LATENCY_ROUNDS), axis=0)
    return dict(zip(HEADS, medians.round(3).tolist(), strict=True))


def run_of(folder: Path, head: str, seed: int) -> RunFolder:
    """Name the run of a head."""
    return RunFolder(folder / "runs" / f"{head.replace(', ', '-').replace(' ', '-')}-{seed}")


def table(rows: list[dict[str, Any]], latency_p50_ms: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return per head the means over its seeds, and how far seeds lie apart."""
    summary = []
    for head in HEADS:
        mine = [row for row in rows if row["head"] == head]
        if not mine:
            continue
        one: dict[str, Any] = {"head": head, "seeds": len(mine)}
        for key in ("map50", "map50_95"):
            values = np.array([row[key] for row in mine])
            one[key] = round(float(values.mean()), 4)
            one[f"{key}_sd"] = round(float(values.std(ddof=1)), 4) if len(values) > 1 else None
        sizes = {key: mine[0][key] for key in ("parameters", "macs")}
        summary.append({**one, **sizes, "latency_p50_ms": latency_p50_ms[head]})
    return summary


def markdown(summary: list[dict[str, Any]]) -> str:
    """Return the table as it stands in the docs."""
    lines = [
        "| Head | mAP50 | mAP50-95 | Parameters | MACs | ONNX Runtime, one thread | Seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in summary:
        quality = " | ".join(_with_spread(row, key) for key in ("map50", "map50_95"))
        lines.append(
            f"| {row['head']} | {quality} | {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e9:.3f} G | "
            f"{row['latency_p50_ms']:.2f} ms | {row['seeds']} |"
        )
    return "\n".join(lines)


def _with_spread(row: dict[str, Any], key: str) -> str:
    spread = row[f"{key}_sd"]
    return f"{row[key]:.3f}" + (f" ± {spread:.3f}" if spread is not None else "")


def _recipe(arguments: argparse.Namespace, seed: int, changes: dict[str, Any]) -> Recipe:
    flags = {
        "scale": arguments.scale,
        "input_size_hw_px": (arguments.size, arguments.size),
        "epochs": arguments.epochs,
        "batch": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "overlap_px": 0,
        "patience_epochs": None,
        "seed": seed,
        **changes,
    }
    return Recipe.model_validate({**load_recipe("cpu", {}, {}).model_dump(), **flags})


def _changes(head: str, anchors: list[list[float]]) -> dict[str, Any]:
    changes = HEADS[head]
    return {**changes, "anchors": anchors} if changes["head"] == "coupled" else changes


def _anchors(data: Dataset, recipe: Recipe) -> list[list[float]]:
    contract = contract_for(recipe, load_taxonomy(), data.mm_per_px)
    sides = tile_sides(TilePlan(data.train, contract, data.mm_per_px, cache_mb=0))
    return rounded(fitted(sides, ANCHORS, seed=0).anchors_px)


def _data_sets(folder: Path, arguments: argparse.Namespace) -> tuple[Dataset, Dataset]:
    """Weave the images that are not there yet: to train and choose on, and to measure on."""
    images = arguments.data_images
    article = DatasetOptions(
        size_hw=(arguments.size, arguments.size),
        weave="plain",
        warp_pitch_px=4,
        weft_pitch_px=4,
        mean_grey=120,
        difficulties=("obvious", "clear", "subtle"),
        defects_per_m=20,
    )
    data = {"images": images, "seed": DATA_SEED, "split": {"train": 0.85, "val": 0.15}}
    unseen = {"images": max(20, images // 3), "seed": UNSEEN_SEED, "split": {"train": 0.02, "val": 0.98}}
    wanted = {
        name: DatasetOptions.model_validate({**article.model_dump(), **changes})
        for name, changes in (("data", data), ("unseen", unseen))
    }
    sets = []
    for name, options in wanted.items():
        if not (folder / name / "data.yaml").is_file():
            print(f"weaving {options.images} images into {folder / name}", file=sys.stderr, flush=True)
            write_dataset(folder / name, options)
        sets.append(load_dataset(folder / name, load_taxonomy().classes))
    return sets[0], sets[1]


def _started(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what OUT.json holds, or an empty result; other settings than its own are refused."""
    settings = {
        key: getattr(arguments, key)
        for key in ("size", "scale", "epochs", "data_images", "batch", "learning_rate")
    }
    if not arguments.out.is_file():
        return {"settings": settings, "processor": processor_name(), "torch": torch.__version__, "rows": []}
    started: dict[str, Any] = json.loads(arguments.out.read_text(encoding="utf-8"))
    if started["settings"] != settings:
        sys.exit(f"{arguments.out} was started with {started['settings']}: name another file.")
    return started


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--scale", default="n")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--data-images", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to torch")
    parser.add_argument("--folder", type=Path, help="of data and runs  [default: OUT without .json]")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except LoomsightError as error:
        sys.exit(f"error: {error}")

"""Train a student alone, under ultralytics' distillation, under each term of GID and under all of them.

Usage: python docs/benchmarks/distillation.py OUT.json [--folder FOLDER] [--teacher n] [--student p]
           [--profile article] [--size 160] [--images 1000] [--epochs 10] [--teacher-epochs 25]
           [--teacher-under shipped] [--batch 16] [--seeds 0 1] [--jobs 2]

All see the same simulated images; the numbers are of images of other seeds, which no training and no
choice of an epoch saw. With --folder, what is done there already is not done again. On a GPU:
--profile hard --teacher l --student s --size 640 --images 20000 --epochs 100 --teacher-epochs 100
--seeds 0 1 2 --jobs 1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import loomsight, run_all
from training import score, toml, train, work_folder

CLOTH = {
    "article": (
        "--weave", "plain", "--warp-pitch-px", "4", "--weft-pitch-px", "4", "--mean-grey", "120",
        "--difficulty", "obvious", "--difficulty", "clear", "--difficulty", "subtle",
        "--defects-per-m", "20",
    ),
    "hard": ("--mm-per-px", "0.2", "--defects-per-m", "25"),
}  # fmt: skip
"""One article without the faintest defects, or any cloth with defects of all four grades."""

OFF = {"feature_weight": 0, "relation_weight": 0, "response_class_weight": 0, "response_box_weight": 0}


def only(*terms: str) -> dict[str, Any]:
    """Return the table of a recipe that keeps some terms at their default weight."""
    return {name: value for name, value in OFF.items() if name.removesuffix("_weight") not in terms}


ROWS: Mapping[str, Mapping[str, Any] | None] = {
    "student alone": None,
    "ultralytics": {"method": "ultralytics"},
    "all of GID": {},
    "GID feature": only("feature"),
    "GID relation": only("relation"),
    "GID response, class": only("response_class"),
    "GID response, box": only("response_box"),
    "GID response": only("response_class", "response_box"),
}
EXTRA_ROWS: Mapping[str, Mapping[str, Any]] = {
    "GID, response at the labelled places": {"response_mask": "foreground"},
    "GID, relation across the batch": {"relation_scope": "batch"},
    "all of GID, off the cloth too": {"cloth": "all"},
    "GID without relation": only("feature", "response_class", "response_box"),
}
"""What is tried where the default does not win; asked for by name with --rows."""


def main() -> None:
    """Weave, train everything, measure; print the table and write it."""
    arguments = _arguments()
    with work_folder(arguments.folder) as folder:
        result = run(folder, arguments)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["mean"], indent=1))


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all of it in a folder."""
    size_px = str(arguments.size)
    cloth = ("--size-hw", size_px, size_px, "--workers", "2", *CLOTH[arguments.profile])
    for name, images, seed, split in (
        ("data", arguments.images, 8101, "train=0.88,val=0.12"),
        ("unseen", 300, 8102, "train=0.01,val=0.99"),
    ):
        if not (folder / name).is_dir():
            command = ["simulate", "--out", name, "--images", str(images), "--seed", str(seed)]
            loomsight(folder, *command, "--split", split, *cloth)
    guide = [] if arguments.teacher_under is None else ["--teacher", arguments.teacher_under]
    rate = arguments.teacher_learning_rate
    table: dict[str, Any] | None = {} if guide else None
    of_teacher = recipe(arguments, arguments.teacher, arguments.teacher_epochs, 0, table, rate)
    train(folder, "teacher", "data", of_teacher, *guide)
    rows = arguments.rows or list(ROWS)
    runs = [(row, seed) for seed in arguments.seeds for row in rows]
    run_all([partial(one, folder, arguments, row, seed) for row, seed in runs], arguments.jobs)
    measured = {
        f"{row}, seed {seed}": score(folder / "unseen", folder / run_name(row, seed) / "best.pt")
        for row, seed in runs
    }
    return {
        "settings": {k: v if not isinstance(v, Path) else v.name for k, v in vars(arguments).items()},
        "teacher": score(folder / "unseen", folder / "teacher" / "best.pt"),
        "runs": measured,
        "mean": {row: mean([measured[f"{row}, seed {seed}"] for seed in arguments.seeds]) for row in rows},
    }


def one(folder: Path, arguments: argparse.Namespace, row: str, seed: int) -> None:
    """Train one student."""
    table = {**ROWS, **EXTRA_ROWS}[row]
    text = recipe(arguments, arguments.student, arguments.epochs, seed, table)
    extra = () if table is None else ("--teacher", "teacher/best.pt")
    train(folder, run_name(row, seed), "data", text, *extra)


def run_name(row: str, seed: int) -> str:
    """Name the folder of a run."""
    return "-".join(row.replace(",", "").lower().split()) + f"-{seed}"


def recipe(
    arguments: argparse.Namespace,
    scale: str,
    epochs: int,
    seed: int,
    table: Mapping[str, Any] | None,
    learning_rate: float = 2e-3,
) -> str:
    """Return a recipe as TOML."""
    values: dict[str, Any] = {
        "scale": scale,
        "input_size_hw_px": [arguments.size, arguments.size],
        "overlap_px": 0,
        "epochs": epochs,
        "batch": arguments.batch,
        "seed": seed,
        "learning_rate": learning_rate,
        "empty_tile_share": 0.5,
    }
    return toml(values if table is None else {**values, "distillation": dict(table)})


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return means over seeds, and how far apart the seeds are."""
    return {
        "map50": round(float(np.mean([row["map50"] for row in rows])), 4),
        "map50_95": round(float(np.mean([row["map50_95"] for row in rows])), 4),
        "map50_95_spread": round(float(np.ptp([row["map50_95"] for row in rows])), 4),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=Path, help="work here and keep it  [default: a temporary folder]")
    parser.add_argument("--teacher", default="n")
    parser.add_argument("--student", default="p")
    parser.add_argument("--profile", choices=list(CLOTH), default="article")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--teacher-epochs", type=int, default=25)
    parser.add_argument("--teacher-under", help="teach the teacher, too: a checkpoint, or shipped")
    parser.add_argument("--teacher-learning-rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once")
    names = [*ROWS, *EXTRA_ROWS]
    parser.add_argument("--rows", nargs="+", choices=names, help="[default: all but the extra]")
    return parser.parse_args()


if __name__ == "__main__":
    main()

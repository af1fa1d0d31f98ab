"""Prune a trained student in all the ways there are, and measure what is left on unseen images.

Usage: python docs/benchmarks/pruning.py OUT.json --student best.pt --teacher best.pt --data DATA
           --unseen DATA [--folder FOLDER] [--shares 0.5 0.35] [--epochs 24] [--steps 4]
           [--sparse-epochs 24] [--seeds 0] [--jobs 1] [--rows NAME ...]

One shot and iterative have the same epochs in all. All are scored on the val split of --unseen, which no
training and no choice of an epoch saw. The student of the rows with sparsity is the given one, trained on
with the penalty; that of "trained on" as long without, for what the epochs alone do. With --folder, what
is done there already is not done again, and what was killed goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import loomsight, run_all
from training import score, toml, train, work_folder

from distill.checkpoint import read_checkpoint

GIVEN, SPARSE, TRAINED_ON = "given", "sparse", "trained-on"


@dataclass(frozen=True)
class Way:
    """Describe a way of pruning: which student, how channels are chosen, how it recovers."""

    recover: str = "self"
    iterative: bool = False
    planner: str = "threshold"
    importance: str = "l1"
    student: str = GIVEN


ROWS: Mapping[str, Way] = {
    "one shot, labels": Way("labels"),
    "one shot, teacher": Way("teacher"),
    "one shot, self": Way("self"),
    "iterative, labels": Way("labels", iterative=True),
    "iterative, teacher": Way("teacher", iterative=True),
    "iterative, self": Way("self", iterative=True),
    "bn-scale": Way(importance="bn-scale"),
    "depgraph, l1": Way(planner="depgraph"),
    "depgraph, bn-scale": Way(planner="depgraph", importance="bn-scale"),
    "sparsity, bn-scale": Way(importance="bn-scale", student=SPARSE),
    "sparsity, l1": Way(student=SPARSE),
    "trained on, bn-scale": Way(importance="bn-scale", student=TRAINED_ON),
}


def main() -> None:
    """Train the students, prune everything, measure; print the table and write it."""
    arguments = _arguments()
    with work_folder(arguments.folder) as folder:
        result = run(folder, arguments)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print_table(result)


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all of it in a folder."""
    rows = {name: ROWS[name] for name in arguments.rows or ROWS}
    runs = [
        (name, fraction, seed)
        for seed in arguments.seeds
        for fraction in arguments.fractions
        for name in rows
    ]
    students = {GIVEN: arguments.student.resolve()}
    for student in {way.student for way in rows.values()} - {GIVEN}:
        students[student] = train_on(folder, arguments, student)
    run_all([partial(prune, folder, arguments, students, *one) for one in runs], arguments.jobs)
    measured = {
        run_name(*one): score(arguments.unseen, folder / run_name(*one) / "best.pt") for one in runs
    }
    return {
        "settings": {key: _plain(value) for key, value in vars(arguments).items()},
        "ways": {name: asdict(way) for name, way in rows.items()},
        "teacher": score(arguments.unseen, arguments.teacher),
        "students": {name: score(arguments.unseen, file) for name, file in students.items()},
        "runs": measured,
        "mean": {
            f"{name}, {fraction:g}": mean(
                [measured[run_name(name, fraction, seed)] for seed in arguments.seeds]
            )
            for fraction in arguments.fractions
            for name in rows
        },
    }


def train_on(folder: Path, arguments: argparse.Namespace, student: str) -> Path:
    """Train the given student on, with the penalty or without, unless that is done."""
    values = dict(read_checkpoint(arguments.student).recipe)
    values |= dict.fromkeys(("distillation", "teacher", "pretraining", "sparsity", "patience_epochs"))
    values["epochs"] = arguments.sparse_epochs
    if student == SPARSE:
        values["sparsity"] = {}
    start = ("--start-from", str(arguments.student.resolve()))
    return train(folder, student, str(arguments.data.resolve()), toml(values), *start)


def prune(
    folder: Path,
    arguments: argparse.Namespace,
    students: Mapping[str, Path],
    name: str,
    fraction: float,
    seed: int,
) -> None:
    """Prune one student in one way, unless that is done; go on with one that was interrupted."""
    way, run = ROWS[name], run_name(name, fraction, seed)
    if (folder / run / "best.pt").is_file():
        return
    steps = arguments.steps if way.iterative else 1
    options = [
        "--macs", f"{fraction:g}", "--steps", str(steps), "--epochs", str(-(-arguments.epochs // steps)),
        "--planner", way.planner, "--importance", way.importance, "--recover", way.recover,
        "--seed", str(seed), "--round-to", str(arguments.round_to),
    ]  # fmt: skip
    if way.recover == "teacher":
        options += ["--teacher", str(arguments.teacher.resolve())]
    if (folder / run / "prune.json").is_file():
        options = ["--resume"]
    data = str(arguments.data.resolve())
    student = str(students[way.student])
    loomsight(folder, "prune", student, data, "--out", run, *options, log=folder / f"{run}.log")
    print(run, "is pruned", flush=True)


def run_name(name: str, fraction: float, seed: int) -> str:
    """Name the folder of a run."""
    return "-".join(name.replace(",", "").split()) + f"-{fraction:g}-{seed}"


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return means over seeds, and how far apart the seeds are."""
    values = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    means = {key: round(float(value.mean()), 4) for key, value in values.items()}
    return {**means, "map50_95_spread": round(float(np.ptp(values["map50_95"])), 4)}


def print_table(result: Mapping[str, Any]) -> None:
    """Print what is left of accuracy and cost, against the given student."""
    whole = result["students"][GIVEN]
    print(f"{'':34}{'mAP50':>8}{'mAP50-95':>10}{'change':>8}{'MACs':>7}{'weights':>9}")
    for name, row in {**result["students"], "teacher": result["teacher"], **result["mean"]}.items():
        print(
            f"{name:34}{row['map50']:8.4f}{row['map50_95']:10.4f}"
            f"{row['map50_95'] - whole['map50_95']:+8.4f}{row['macs'] / whole['macs']:7.3f}"
            f"{row['parameters'] / 1e6:8.3f}M"
        )


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("--student", "--teacher", "--data", "--unseen"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="work here and keep it  [default: a temporary folder]")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.35])
    parser.add_argument("--epochs", type=int, default=24, help="of all recoveries of a run together")
    parser.add_argument("--steps", type=int, default=4, help="of the iterative rows")
    parser.add_argument("--sparse-epochs", type=int, default=24)
    parser.add_argument("--round-to", type=int, choices=[8, 16, 32], default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="prunings at once")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), help="[default: all]")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Train YOLOv5 from random weights and after its backbone has learnt features, for as many steps.

Usage: python docs/benchmarks/feature_pretraining.py OUT.json [--folder FOLDER] [--scales s] [--seeds 0 1]
           [--rows random features] [--trunk efficientnet-lite0] [--size 256] [--images 1000] [--epochs 10]
           [--feature-images 2000] [--feature-folder CLOTH] [--feature-epochs 20] [--jobs 1]

All see the same simulated images as often; the numbers are of images of other seeds, which no training and
no choice of an epoch saw. With --folder, what is done there already is not done again, and a training that
was stopped goes on. `--scales s l` measures YOLOv5l, too. The row `shipped-teacher` trains from random
weights under the detector that ships with the package, which wants an input of 256 px.
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

ROWS = ("random", "features", "shipped-teacher")
CLOTH = ("--mm-per-px", "0.2", "--defects-per-m", "25", "--workers", "2")
STAGE = "feature-pretrained"
SHIPPED_SIDE_PX = 256


def main() -> None:
    """Weave, train everything, measure; print the means and write all."""
    arguments = _arguments()
    with work_folder(arguments.folder) as folder:
        result = run(folder, arguments)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["mean"], indent=1))


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all of it in a folder."""
    weave(folder, arguments)
    runs = [
        (scale, row, seed)
        for seed in arguments.seeds
        for scale in arguments.scales
        for row in arguments.rows
    ]
    run_all([partial(one, folder, arguments, *each) for each in runs], arguments.jobs)
    measured = {run_name(*each): result_of(folder, run_name(*each)) for each in runs}
    return {
        "settings": {key: _plain(value) for key, value in vars(arguments).items()},
        "runs": measured,
        "mean": {
            f"YOLOv5{scale}, {row}": mean(
                [measured[run_name(scale, row, seed)] for seed in arguments.seeds]
            )
            for scale in arguments.scales
            for row in arguments.rows
        },
    }


def weave(folder: Path, arguments: argparse.Namespace) -> None:
    """Weave the data set, the images held out and those to learn features from, each once."""
    size = ("--size-hw", str(arguments.size), str(arguments.size))
    sets = [
        ("data", arguments.images, 8201, "train=0.88,val=0.12"),
        ("unseen", arguments.unseen_images, 8202, "train=0.01,val=0.99"),
    ]
    if arguments.feature_images:
        sets.append(("features", arguments.feature_images, 8203, "train=0.99,val=0.01"))
    for name, images, seed, split in sets:
        if not (folder / name).is_dir():
            command = ["simulate", "--out", name, "--images", str(images), "--seed", str(seed)]
            loomsight(folder, *command, "--split", split, *size, *CLOTH)


def one(folder: Path, arguments: argparse.Namespace, scale: str, row: str, seed: int) -> None:
    """Train one detector."""
    extra = ("--teacher", "shipped") if row == "shipped-teacher" else ()
    train(folder, run_name(scale, row, seed), "data", recipe(arguments, scale, row, seed), *extra)


def run_name(scale: str, row: str, seed: int) -> str:
    """Name the folder of a run."""
    return f"{scale}-{row}-{seed}"


def recipe(arguments: argparse.Namespace, scale: str, row: str, seed: int) -> str:
    """Return a recipe as TOML. Nothing stops early: all rows have as many steps of detection."""
    values: dict[str, Any] = {
        "scale": scale,
        "input_size_hw_px": [arguments.size, arguments.size],
        "overlap_px": 0,
        "epochs": arguments.epochs,
        "batch": arguments.batch,
        "seed": seed,
        "learning_rate": arguments.learning_rate,
        "empty_tile_share": 0.5,
    }
    return toml({**values, "feature_pretraining": features(arguments)} if row == "features" else values)


def features(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the table [feature_pretraining] of a recipe."""
    woven = ["features/images/train"] if arguments.feature_images else []
    return {
        "trunk": arguments.trunk,
        "folders": woven + [str(folder.resolve()) for folder in arguments.feature_folder],
        "epochs": arguments.feature_epochs,
        "learning_rate": arguments.feature_learning_rate,
    }


def result_of(folder: Path, name: str) -> dict[str, Any]:
    """Return the score of a run, its steps and seconds, and those of its features if it learnt some."""
    found: dict[str, Any] = score(folder / "unseen", folder / name / "best.pt")
    found["detection"] = time_of(folder / name)
    if (folder / name / STAGE).is_dir():
        found["features"] = time_of(folder / name / STAGE)
    return found


def time_of(run: Path) -> dict[str, float]:
    """Return what the history of a run says of its length."""
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text("utf-8").splitlines()]
    seconds = sum(row["seconds"] for row in rows)
    found = {
        "epochs": len(rows),
        "steps": rows[-1]["steps"],
        "seconds": round(seconds, 1),
        "tiles_per_s": round(sum(row["tiles"] for row in rows) / max(seconds, 1e-9), 2),
    }
    losses = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    return {**found, "held_out_loss": round(min(losses), 4)} if losses else found


def mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return means over seeds, and how far apart the seeds are."""
    return {
        "map50": round(float(np.mean([row["map50"] for row in rows])), 4),
        "map50_95": round(float(np.mean([row["map50_95"] for row in rows])), 4),
        "map50_95_spread": round(float(np.ptp([row["map50_95"] for row in rows])), 4),
    }


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.name if isinstance(value, Path) else value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=Path, help="work here and keep it  [default: a temporary folder]")
    parser.add_argument("--scales", nargs="+", choices=list("pnsml"), default=["s"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS[:2]))
    parser.add_argument("--trunk", default="efficientnet-lite0")
    parser.add_argument("--size", type=int, default=256, help="side of images and input, from 128 pixels")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--unseen-images", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--feature-images", type=int, default=2000, help="simulated; 0 for folders alone")
    parser.add_argument("--feature-folder", type=Path, nargs="+", default=[], help="images of any cloth")
    parser.add_argument("--feature-epochs", type=int, default=20)
    parser.add_argument("--feature-learning-rate", type=float, default=2e-3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once")
    arguments = parser.parse_args()
    if "shipped-teacher" in arguments.rows and arguments.size != SHIPPED_SIDE_PX:
        parser.error(f"the row shipped-teacher needs --size {SHIPPED_SIDE_PX}: its teacher sees no other")
    return arguments


if __name__ == "__main__":
    main()

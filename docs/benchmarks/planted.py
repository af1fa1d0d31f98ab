"""Train on defects planted in real clean cloth, or on simulated cloth; score both on real strips.

Usage: python docs/benchmarks/planted.py STRIPS OUT.json --scorer SCORER [--folder FOLDER] [--mm-per-px 0.2]
           [--images 600] [--epochs 4] [--seeds 0 1] [--size 256] [--learning-rate 3e-4] [--threads 1]

STRIPS holds teach/ (clean strips to plant defects in), images/ and voc/ (strips with defects and their
boxes, Pascal VOC) and clean/ (strips without). SCORER is a script called as
`SCORER --truth VOC --clean CLEAN DETECTIONS.jsonl` that prints JSON with map50, map_hit and operating.

Both detectors start from the shipped one and see as many images, as often, with as many defects per metre
and the same seeds; only the cloth differs. Each is exported and looks at images/ and clean/ through
`edge-run`.
What is done in the folder already is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from commands import loomsight
from training import toml, train, work_folder

from distill.settings.shipped import SHIPPED, SHIPPED_CHECKPOINT
from edge.core.taxonomy import load_taxonomy

CLOTHS = ("simulated", "planted")
DEFECTS_PER_M = 25.0
FIRST_SEED = 9200
"""Of the data sets; far from those that the shipped detector was trained on."""

LEAST_SCORE = 0.02
"""Reported from here on: the scorer draws the whole curve."""


def main() -> None:
    """Train, look, score; print the table and write it."""
    arguments = _arguments()
    with work_folder(arguments.folder) as folder:
        (folder / SHIPPED).mkdir(exist_ok=True)
        shutil.copyfile(SHIPPED_CHECKPOINT, folder / SHIPPED / "best.pt")
        names = [SHIPPED]
        look(folder, arguments, SHIPPED)
        for seed in arguments.seeds:
            for cloth in CLOTHS:
                names.append(trained(folder, arguments, cloth, seed))
                look(folder, arguments, names[-1])
        rows = {name: scored(folder, arguments, name) for name in names}
    settings = {key: value for key, value in vars(arguments).items() if not isinstance(value, Path)}
    result = {"settings": settings, "rows": rows}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(rows))


def trained(folder: Path, arguments: argparse.Namespace, cloth: str, seed: int) -> str:
    """Draw a data set and train on it, from the shipped detector on; return the name of the run."""
    data, name = f"data-{cloth}-{seed}", f"{cloth}-{seed}"
    if not (folder / data).is_dir():
        on = ("--on", str(arguments.strips / "teach")) if cloth == "planted" else ()
        loomsight(
            folder, "simulate", "--out", data, *on, "--images", str(arguments.images),
            "--size-hw", str(arguments.size), str(arguments.size), "--seed", str(FIRST_SEED + seed),
            "--split", "train=0.9,val=0.1", "--defects-per-m", str(DEFECTS_PER_M),
            "--mm-per-px", str(arguments.mm_per_px),
        )  # fmt: skip
    recipe: dict[str, Any] = {
        "scale": "n",
        "input_size_hw_px": [arguments.size, arguments.size],
        "mm_per_px": arguments.mm_per_px,
        "epochs": arguments.epochs,
        "batch": 16,
        "learning_rate": arguments.learning_rate,
        "ema_decay": 0.99,
        "ema_warmup_steps": 20,
        "empty_tile_share": 1.0,
        "seed": seed,
    }
    train(folder, name, data, toml(recipe), "--start-from", SHIPPED)
    return name


def look(folder: Path, arguments: argparse.Namespace, name: str) -> None:
    """Export a detector and let it look at all strips."""
    whole = folder / name / "detections.jsonl"
    if whole.is_file():
        return
    thresholds = chain.from_iterable(("--threshold", f"{c}={LEAST_SCORE}") for c in load_taxonomy().classes)
    log, bundle = folder / f"{name}.log", f"{name}/bundle"
    loomsight(
        folder, "export", f"{name}/best.pt", "--images", str(arguments.strips / "clean"), "--out", bundle,
        "--overwrite", *thresholds, log=log,
    )  # fmt: skip
    lines = []
    for kind in ("images", "clean"):
        part = f"{name}/detections-{kind}.jsonl"
        loomsight(
            folder, "edge-run", "--camera", str(arguments.strips / kind), "--model", bundle,
            "--detections", part, "--mm-per-px", str(arguments.mm_per_px),
            "--threads", str(arguments.threads), log=log,
        )  # fmt: skip
        lines.append((folder / part).read_text(encoding="utf-8"))
    whole.write_text("".join(lines), encoding="utf-8")


def scored(folder: Path, arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Score one detector on all strips."""
    command = [
        sys.executable, str(arguments.scorer), "--truth", str(arguments.strips / "voc"),
        "--clean", str(arguments.strips / "clean"), str(folder / name / "detections.jsonl"),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the table as it stands in the docs."""
    lines = ["| Detector | map_hit | map50 | recall at 0.1 alarms per clean strip |", "|---|---|---|---|"]
    for name, row in rows.items():
        working = row["operating"] or {"recall": 0.0}
        lines.append(f"| {name} | {row['map_hit']:.3f} | {row['map50']:.3f} | {working['recall']:.3f} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("strips", type=lambda text: Path(text).resolve())
    parser.add_argument("out", type=Path)
    parser.add_argument("--scorer", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--folder", type=Path, help="work here and keep it  [default: a temporary folder]")
    parser.add_argument("--mm-per-px", type=float, default=0.2)
    parser.add_argument("--images", type=int, default=600, help="of each data set")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, default=1, help="of a detector that looks")
    return parser.parse_args()


if __name__ == "__main__":
    main()

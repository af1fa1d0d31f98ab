"""Train on one half of labelled real strips and score on the other, both ways round.

Usage: python docs/benchmarks/strips.py STRIPS OUT.json --scorer SCORER [--folder FOLDER] [--mm-per-px 0.2]
           [--teacher n] [--student p] [--plain s] [--size 256] [--epochs 30] [--tuning-epochs 10]
           [--pretraining-epochs 12] [--simulated 1500] [--plain-epochs 60] [--jobs 2] [--threads 1]
           [--rows shipped-simulated-clahe tuned-simulated-clahe ...]

STRIPS holds images/ and voc/ (Pascal VOC, LabelImg's form) of strips with defects and clean/ of strips
without. SCORER is a script called as `SCORER --truth VOC --clean CLEAN DETECTIONS.jsonl` that prints JSON
with map50, map_hit and operating. Teacher, student alone and student distilled, each with and without
simulated cloth first (on which the distilled one has a teacher, too), each with and without CLAHE; beside
them the shipped detector, as it is and tuned on the half, and a plain ultralytics YOLOv5 from random
weights on the same tiles, with ultralytics' own trainer and its defaults. Every detector is exported
and looks at the other half through `edge-run`.

What is done in the folder already is not done again. With a GPU:
--teacher l --student s --epochs 200 --tuning-epochs 100 --pretraining-epochs 60 --simulated 20000
--plain-epochs 300 --jobs 1 --threads 0.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from commands import loomsight, run_all
from plain_yolov5 import Plain, train_plain
from training import toml, train, work_folder

from distill.labels.formats import yolo
from distill.labels.formats.registry import read_labels
from distill.labels.sets.annotations import LabelSet
from distill.labels.sets.clean import with_clean_images
from distill.labels.sets.sharing import SharingOptions, split_by_options
from distill.settings.shipped import SHIPPED, SHIPPED_CHECKPOINT
from edge.core.taxonomy import load_taxonomy

Job = Callable[[], None]

FOLDS = ("a", "b")
GROUP = "^(?P<group>[0-9_]+)"
EMPTY_FRACTION = 0.08
"""Of the tiles without a defect that an epoch sees: about as many as there are tiles with one."""
LEAST_SCORE = 0.02
"""Reported from here on: the scorer draws the whole curve."""
TUNING_RATE = 1e-4
"""Learning rate on strips after simulated cloth. With 7e-4 a few dozen strips made the detector forget: on
the other half map_hit fell from 0.36 to 0.13."""

TUNED: dict[str, Any] = {
    "epochs": 4, "batch": 16, "learning_rate": 3e-4, "ema_decay": 0.99, "empty_tile_share": 0.2,
    "rehearsal": {},
}  # fmt: skip
"""As the shipped recipe `mill` says."""


@dataclass(frozen=True)
class Row:
    """One way to train a detector.

    Attributes:
        who: teacher, alone, distilled, shipped, tuned (the shipped one, trained on) or plain.
    """

    who: str
    is_pretrained: bool
    has_clahe: bool

    @property
    def name(self) -> str:
        first = "simulated" if self.is_pretrained else "scratch"
        return f"{self.who}-{first}-{'clahe' if self.has_clahe else 'raw'}"


PLAIN = Row("plain", is_pretrained=False, has_clahe=False)
ROWS = (
    *(Row(who, True, True) for who in ("teacher", "alone", "distilled")),
    *(Row(who, False, True) for who in ("teacher", "alone", "distilled")),
    *(Row(who, True, False) for who in ("teacher", "alone", "distilled")),
    *(Row(who, False, False) for who in ("teacher", "alone", "distilled")),
    *(Row(who, True, True) for who in ("shipped", "tuned")),
)


def wanted(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows that are asked for, in their order."""
    return [row for row in ROWS if arguments.rows is None or row.name in arguments.rows]


def wants_plain(arguments: argparse.Namespace) -> bool:
    """Tell whether the plain detector is asked for."""
    return arguments.rows is None or PLAIN.name in arguments.rows


def main() -> None:
    """Train, look, score; print the table and write it."""
    arguments = _arguments()
    with work_folder(arguments.folder) as folder:
        write_folds(folder, arguments)
        for has_clahe in (True, False):
            for jobs in (pretrainings, trainings):
                run_all(jobs(folder, arguments, has_clahe), arguments.jobs)
        result = results(folder, arguments)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


def write_folds(folder: Path, arguments: argparse.Namespace) -> None:
    """Share the strips out into two halves, alike in their classes; write a data set of each."""
    strips = read_labels(
        arguments.strips / "voc", load_taxonomy(), image_folder=arguments.strips / "images"
    )
    strips = with_clean_images(strips, arguments.strips / "clean")
    halves = split_by_options(strips, SharingOptions(group=GROUP, split="train=0.5,test=0.5"), again=True)
    for fold, split in zip(FOLDS, ("train", "test"), strict=True):
        if not (folder / f"half-{fold}" / "data.yaml").is_file():
            write_half(halves, split, folder / f"half-{fold}")


def write_half(halves: LabelSet, split: str, target: Path) -> None:
    """Write one half as a data set that validates on strips it also trains on.

    There are too few strips to hold some back. The epoch is chosen on strips that were trained on, which
    favours a late one; nothing of the other half is looked at.
    """
    images = tuple(replace(image, split="train") for image in halves.images if image.split == split)
    yolo.write(replace(halves, images=images), target)
    first_of = {region.label: image for image in reversed(images) for region in image.regions}
    clean = next(image for image in images if not image.regions)
    chosen = {image.file_name: image for image in (*first_of.values(), clean)}.values()
    for kind, suffix in (("images", ".png"), ("labels", ".txt")):
        (target / kind / "val").mkdir(parents=True)
        for image in chosen:
            found = next((target / kind / "train").rglob(Path(image.file_name).stem + suffix), None)
            if found is not None:
                (target / kind / "val" / found.name).hardlink_to(found)
    description = yaml.safe_load((target / "data.yaml").read_text(encoding="utf-8"))
    description["val"] = "images/val"
    (target / "data.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")


def pretrainings(folder: Path, arguments: argparse.Namespace, has_clahe: bool) -> list[Job]:
    """Return the trainings on simulated cloth; both halves start from them."""
    whos = {row.who for row in wanted(arguments) if row.is_pretrained and row.has_clahe == has_clahe}
    whos -= {"shipped", "tuned"}
    if whos and not (folder / "simulated").is_dir():
        size = ("--size-hw", str(arguments.size), str(arguments.size))
        options = ("--seed", "9101", "--split", "train=0.94,val=0.06", "--defects-per-m", "25")
        scale = ("--mm-per-px", str(arguments.mm_per_px), "--workers", "2")
        images = ("--images", str(arguments.simulated))
        loomsight(folder, "simulate", "--out", "simulated", *images, *size, *options, *scale)

    def job(*several: str) -> None:
        for who in several:
            row = Row(who, is_pretrained=False, has_clahe=has_clahe)
            changes: dict[str, Any] = {"epochs": arguments.pretraining_epochs, "empty_tile_share": 0.4}
            extra = []
            if who == "distilled":
                changes["distillation"] = {}
                extra = ["--teacher", f"{pretrained('teacher', has_clahe)}/best.pt"]
            text = recipe(arguments, row, {**changes, "batch": 16})
            train(folder, pretrained(who, has_clahe), "simulated", text, *extra)

    taught = [who for who in ("teacher", "distilled") if who in whos or "distilled" in whos]
    return [partial(job, *taught), *(partial(job, who) for who in whos - set(taught))]


def pretrained(who: str, has_clahe: bool) -> str:
    """Name the run on simulated cloth."""
    return f"pretrained-{Row(who, is_pretrained=False, has_clahe=has_clahe).name}"


def trainings(folder: Path, arguments: argparse.Namespace, has_clahe: bool) -> list[Job]:
    """Return the trainings on each half, those of a teacher and the students under it in one piece."""

    def family(fold: str, is_pretrained: bool) -> None:
        for row in wanted(arguments):
            if (row.is_pretrained, row.has_clahe) == (is_pretrained, has_clahe):
                train_and_look(folder, arguments, row, fold)

    def plain(fold: str) -> None:
        how = Plain(
            arguments.plain, arguments.size, arguments.mm_per_px, arguments.plain_epochs, EMPTY_FRACTION
        )
        train_plain(folder, f"{PLAIN.name}-{fold}", folder / f"half-{fold}", how)
        look(folder, arguments, PLAIN, fold)

    jobs: list[Job] = [
        partial(family, fold, is_pretrained) for is_pretrained in (True, False) for fold in FOLDS
    ]
    plains = [partial(plain, fold) for fold in FOLDS] if has_clahe and wants_plain(arguments) else []
    return [*jobs[:2], *plains, *jobs[2:]]


def train_and_look(folder: Path, arguments: argparse.Namespace, row: Row, fold: str) -> None:
    """Train one detector on one half and let it look at the other; the shipped one is as it is."""
    if row.who == "shipped":
        (folder / f"{row.name}-{fold}").mkdir(exist_ok=True)
        shutil.copyfile(SHIPPED_CHECKPOINT, folder / f"{row.name}-{fold}" / "best.pt")
        look(folder, arguments, row, fold)
        return
    changes: dict[str, Any] = {"epochs": arguments.epochs, "batch": 8, "empty_tile_share": EMPTY_FRACTION}
    extra: list[str] = []
    if row.is_pretrained:
        changes |= {"epochs": arguments.tuning_epochs, "learning_rate": TUNING_RATE}
        extra += ["--start-from", f"{pretrained(row.who, row.has_clahe)}/best.pt"]
    if row.who == "tuned":
        changes, extra = TUNED, ["--start-from", SHIPPED]
    if row.who == "distilled":
        changes["distillation"] = {}
        teacher = Row("teacher", row.is_pretrained, row.has_clahe)
        extra += ["--teacher", f"{teacher.name}-{fold}/best.pt"]
    train(folder, f"{row.name}-{fold}", f"half-{fold}", recipe(arguments, row, changes), *extra)
    look(folder, arguments, row, fold)


def recipe(arguments: argparse.Namespace, row: Row, changes: dict[str, Any]) -> str:
    """Return a recipe as TOML."""
    values = {
        "scale": {"teacher": arguments.teacher, "tuned": "n"}.get(row.who, arguments.student),
        "input_size_hw_px": [arguments.size, arguments.size],
        "mm_per_px": arguments.mm_per_px,
        "ema_decay": 0.98,
        "ema_warmup_steps": 20,
        "learning_rate": 2e-3,
        "enhancement": None if row.has_clahe else {"kind": "none"},
    }
    return toml({**values, **changes})


def look(folder: Path, arguments: argparse.Namespace, row: Row, fold: str) -> None:
    """Export a detector and run it over the half that it has not seen."""
    name, other = f"{row.name}-{fold}", FOLDS[1 - FOLDS.index(fold)]
    if (folder / name / "detections.jsonl").is_file():
        return
    thresholds = chain.from_iterable(("--threshold", f"{c}={LEAST_SCORE}") for c in load_taxonomy().classes)
    log = folder / f"{name}.log"
    strips, bundle = folder / f"half-{other}" / "images" / "train", f"{name}/bundle"
    loomsight(
        folder, "export", f"{name}/best.pt", "--images", str(strips), "--out", bundle, "--overwrite",
        *thresholds, log=log,
    )  # fmt: skip
    lines = []
    for number, image_folder in enumerate(sorted({file.parent for file in strips.rglob("*.png")})):
        part = f"{name}/detections-{number}.jsonl"
        loomsight(
            folder, "edge-run", "--camera", str(image_folder), "--model", bundle, "--detections", part,
            "--mm-per-px", str(arguments.mm_per_px), "--threads", str(arguments.threads or 2), log=log,
        )  # fmt: skip
        lines.append((folder / part).read_text(encoding="utf-8"))
    (folder / name / "detections.jsonl").write_text("".join(lines), encoding="utf-8")


def results(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Score both halves of each row together: every strip once, by the detector that had not seen it."""
    rows = {}
    for row in (*([PLAIN] if wants_plain(arguments) else []), *wanted(arguments)):
        files = [folder / f"{row.name}-{fold}" / "detections.jsonl" for fold in FOLDS]
        command = [
            sys.executable, str(arguments.scorer), "--truth", str(arguments.strips / "voc"),
            "--clean", str(arguments.strips / "clean"), *map(str, files),
        ]  # fmt: skip
        rows[row.name] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    plain = rows[PLAIN.name]["map_hit"] if PLAIN.name in rows else None
    distilled = [row["map_hit"] for name, row in rows.items() if name.startswith("distilled-simulated")]
    settings = {k: str(v.name) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
    return {
        "settings": settings,
        "rows": rows,
        "ratio_to_plain": round(max(distilled) / plain, 2) if plain and distilled else None,
    }


def table(result: dict[str, Any]) -> str:
    """Return the table as it stands in the docs."""
    lines = ["| Detector | map_hit | map50 | recall at 0.1 alarms per clean strip |", "|---|---|---|---|"]
    for name, row in result["rows"].items():
        working = row["operating"] or {"recall": 0.0}
        lines.append(f"| {name} | {row['map_hit']:.3f} | {row['map50']:.3f} | {working['recall']:.3f} |")
    if result["ratio_to_plain"]:
        lines.append(f"distilled after simulated cloth / plain: {result['ratio_to_plain']}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("strips", type=lambda text: Path(text).resolve())
    parser.add_argument("out", type=Path)
    parser.add_argument("--scorer", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--folder", type=Path, help="work here and keep it  [default: a temporary folder]")
    parser.add_argument("--mm-per-px", type=float, default=0.2)
    parser.add_argument("--teacher", default="n")
    parser.add_argument("--student", default="p")
    parser.add_argument("--plain", default="s")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=30, help="on strips, from random weights")
    parser.add_argument("--tuning-epochs", type=int, default=10, help="on strips, after simulated cloth")
    parser.add_argument(
        "--rows", nargs="+", choices=[row.name for row in (PLAIN, *ROWS)], help="[default: all]"
    )
    parser.add_argument("--pretraining-epochs", type=int, default=12, help="on simulated cloth")
    parser.add_argument("--simulated", type=int, default=1500, help="images")
    parser.add_argument("--plain-epochs", type=int, default=60, help="counted as those of the others")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once")
    parser.add_argument("--threads", type=int, default=1, help="of a detector that looks; 0 takes two")
    return parser.parse_args()


if __name__ == "__main__":
    main()

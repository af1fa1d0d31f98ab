"""Train on one half of labelled real strips and score on the other, both ways round.

Usage: python docs/benchmarks/strips.py STRIPS OUT.json --scorer SCORER [--folder FOLDER] [--mm-per-px 0.2]
           [--teacher n] [--student p] [--plain s] [--size 256] [--epochs 30] [--tuning-epochs 10]
           [--pretraining-epochs 12] [--simulated 1500] [--plain-epochs 60] [--jobs 2] [--threads 1]

STRIPS holds images/ and voc/ (Pascal VOC, LabelImg's form) of strips with defects and clean/ of strips
without. SCORER is a script called as `SCORER --truth VOC --clean CLEAN DETECTIONS.jsonl` that prints JSON
with map50, map_hit and operating. Teacher, student alone and student distilled, each with and without
simulated cloth first (on which the distilled one has a teacher, too), each with and without CLAHE; beside
them a plain ultralytics YOLOv5 from random weights on the same tiles, with ultralytics' own trainer and its
defaults. Every detector is exported and looks at the other half through `edge-run`.

What is done in the folder already is not done again. With a GPU:
--teacher l --student s --epochs 200 --tuning-epochs 100 --pretraining-epochs 60 --simulated 20000
--plain-epochs 300 --jobs 1 --threads 0.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from commands import loomsight, python, run_all

from distill.checkpoint import Checkpoint, weights_digest, write_checkpoint
from distill.dataset import load_dataset
from distill.detector.build import build_module
from distill.detector.choice import structure_of
from distill.detector.official_weights import take_official_weights
from distill.labels import yolo
from distill.labels.annotations import LabelSet
from distill.labels.clean import with_clean_pictures
from distill.labels.formats import read_labels
from distill.labels.sharing import SharingOptions, shared_out
from distill.recipe import Recipe
from distill.tiles import Tile, TilePlan, visible_truth
from distill.train import contract_for
from edge.contract import NoEnhancement
from edge.preprocess import cut_view
from edge.taxonomy import load_taxonomy

Job = Callable[[], None]

FOLDS = ("a", "b")
GROUP = "^(?P<group>[0-9_]+)"
EMPTY_SHARE = 0.08
"""Of the tiles without a defect that an epoch sees: about as many as there are tiles with one."""
LEAST_SCORE = 0.02
"""Reported from here on: the scorer draws the whole curve."""
TUNING_RATE = 1e-4
"""Learning rate on strips after simulated cloth. With 7e-4 a few dozen strips made the detector forget: on
the other half map_hit fell from 0.36 to 0.13."""
PLAIN_EVERY = 4
"""The plain trainer sees a list of the tiles with defects so many times and of some others once."""


@dataclass(frozen=True)
class Row:
    """One way to train a detector.

    Attributes:
        who: teacher, alone, distilled or plain.
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
)


def wanted(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows that are asked for, in their order."""
    return [row for row in ROWS if arguments.rows is None or row.name in arguments.rows]


def main() -> None:
    """Train, look, score; print the table and write it."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        write_folds(folder, arguments)
        for has_clahe in (True, False):
            for jobs in (pretrainings, trainings):
                run_all(jobs(folder, arguments, has_clahe), arguments.jobs)
        result = results(folder, arguments)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


def write_folds(folder: Path, arguments: argparse.Namespace) -> None:
    """Share the strips out into two halves, alike in their classes; write a data set of each."""
    strips = read_labels(arguments.strips / "voc", load_taxonomy(), pictures=arguments.strips / "images")
    strips = with_clean_pictures(strips, arguments.strips / "clean")
    halves = shared_out(strips, SharingOptions(group=GROUP, split="train=0.5,test=0.5"), anew=True)
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
    if not (folder / "simulated").is_dir():
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

    whos = {row.who for row in wanted(arguments) if row.is_pretrained and row.has_clahe == has_clahe}
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
        train_plain(folder, arguments, fold)
        look(folder, arguments, PLAIN, fold)

    jobs: list[Job] = [
        partial(family, fold, is_pretrained) for is_pretrained in (True, False) for fold in FOLDS
    ]
    return jobs if not has_clahe else [*jobs[:2], *(partial(plain, fold) for fold in FOLDS), *jobs[2:]]


def train_and_look(folder: Path, arguments: argparse.Namespace, row: Row, fold: str) -> None:
    """Train one detector on one half and let it look at the other."""
    changes: dict[str, Any] = {"epochs": arguments.epochs, "batch": 8, "empty_tile_share": EMPTY_SHARE}
    extra: list[str] = []
    if row.is_pretrained:
        changes |= {"epochs": arguments.tuning_epochs, "learning_rate": TUNING_RATE}
        extra += ["--start-from", f"{pretrained(row.who, row.has_clahe)}/best.pt"]
    if row.who == "distilled":
        changes["distillation"] = {}
        teacher = Row("teacher", row.is_pretrained, row.has_clahe)
        extra += ["--teacher", f"{teacher.name}-{fold}/best.pt"]
    train(folder, f"{row.name}-{fold}", f"half-{fold}", recipe(arguments, row, changes), *extra)
    look(folder, arguments, row, fold)


def recipe(arguments: argparse.Namespace, row: Row, changes: dict[str, Any]) -> str:
    """Return a recipe as TOML."""
    values = {
        "scale": arguments.teacher if row.who == "teacher" else arguments.student,
        "input_size_hw_px": [arguments.size, arguments.size],
        "mm_per_px": arguments.mm_per_px,
        "ema_decay": 0.98,
        "ema_warmup_steps": 20,
        "learning_rate": 2e-3,
        **changes,
    }
    tables = {name: values.pop(name) for name in list(values) if isinstance(values[name], dict)}
    if not row.has_clahe:
        tables["enhancement"] = {"kind": "none"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for name, fields in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    return "\n".join(lines) + "\n"


def train(folder: Path, name: str, data: str, text: str, *extra: str) -> None:
    """Train one detector, unless it is done; go on with one that was interrupted."""
    if (folder / name / "metrics.json").is_file():
        return
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    resume = (folder / name / "last.pt").is_file()
    how = ("--resume",) if resume else ("--recipe", f"{name}.toml", *extra)
    loomsight(folder, "distill", data, "--out", name, *how, log=folder / f"{name}.log")
    print(name, "is trained", flush=True)


def train_plain(folder: Path, arguments: argparse.Namespace, fold: str) -> None:
    """Train ultralytics' YOLOv5 with its own trainer and bring its weights into a checkpoint."""
    name = f"{PLAIN.name}-{fold}"
    if (folder / name / "best.pt").is_file():
        return
    tiles = folder / f"tiles-{fold}"
    if not (tiles / "data.yaml").is_file():
        write_tiles(folder / f"half-{fold}", tiles, arguments)
    rounds = max(1, arguments.plain_epochs // PLAIN_EVERY)
    settings = {
        "data": str(tiles / "data.yaml"), "imgsz": arguments.size, "epochs": rounds, "batch": 16,
        "device": "cpu", "pretrained": False, "plots": False, "workers": 0, "seed": 0, "amp": False,
        "project": str(folder), "name": f"{name}-ultralytics", "exist_ok": True, "verbose": False,
        # An epoch holds PLAIN_EVERY of ours: its own three epochs of warm-up, ten without mosaic.
        "warmup_epochs": 3 / PLAIN_EVERY, "close_mosaic": max(1, 10 // PLAIN_EVERY),
    }  # fmt: skip
    code = (
        "import json, sys; import distill.ultralytics_door; from ultralytics import YOLO; "
        f"YOLO('yolov5{arguments.plain}.yaml').train(**json.loads(sys.argv[1]))"
    )
    python(folder, code, json.dumps(settings), log=folder / f"{name}.log")
    plain = Recipe(
        scale=arguments.plain,
        input_size_hw_px=(arguments.size, arguments.size),
        colour_order="rgb",
        enhancement=NoEnhancement(),
        mm_per_px=arguments.mm_per_px,
    )
    contract = contract_for(plain, load_taxonomy(), None)
    structure = structure_of(plain, contract)
    module = build_module(structure)
    weights_file = folder / f"{name}-ultralytics" / "weights" / "best.pt"
    taken = take_official_weights(module, weights_file, "rgb")
    if taken["other_shape"] or taken["missing"]:
        raise SystemExit(f"{weights_file} is of another network: {taken}")
    weights = module.state_dict()
    (folder / name).mkdir(exist_ok=True)
    contract = contract.model_copy(update={"source_digest": weights_digest(weights)})
    write_checkpoint(folder / name / "best.pt", Checkpoint(structure, weights, contract))
    print(name, "is trained", flush=True)


def write_tiles(half: Path, target: Path, arguments: argparse.Namespace) -> None:
    """Cut the tiles that the other trainings see into files, as ultralytics wants them."""
    classes = load_taxonomy().classes
    options = Recipe(
        input_size_hw_px=(arguments.size, arguments.size),
        enhancement=NoEnhancement(),
        mm_per_px=arguments.mm_per_px,
    )
    contract = contract_for(options, load_taxonomy(), None)
    data = load_dataset(half, classes)
    lists = {}
    for split, pictures in (("train", data.train), ("val", data.val)):
        plan = TilePlan(pictures, contract, arguments.mm_per_px, cache_mb=1024)
        images = target / "images" / split
        files = [write_tile(plan, number, images, arguments.size) for number in range(len(plan.tiles))]
        lists[split] = [(file, tile.is_empty) for file, tile in zip(files, plan.tiles, strict=True)]
    full = [file for file, is_empty in lists["train"] if not is_empty]
    empty = [file for file, is_empty in lists["train"] if is_empty]
    random.Random(0).shuffle(empty)
    drawn = empty[: round(len(empty) * min(1.0, EMPTY_SHARE * PLAIN_EVERY))]
    _write_list(target / "train.txt", chain(full * PLAIN_EVERY, drawn))
    _write_list(target / "val.txt", (file for file, _ in lists["val"]))
    description = {"path": str(target), "train": "train.txt", "val": "val.txt", "names": list(classes)}
    (target / "data.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")


def write_tile(plan: TilePlan, number: int, target: Path, size_px: int) -> Path:
    """Write one tile and its labels."""
    tile: Tile = plan.tiles[number]
    picture = plan.pictures[tile.picture]
    image = cv2.imread(str(picture.path), cv2.IMREAD_GRAYSCALE)
    boxes, class_ids = visible_truth(picture.boxes_xyxy_px(image), picture.class_ids, tile.view)
    cut = cut_view(image, tile.view, (size_px, size_px))
    centres = (
        np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1) / size_px
    )
    rows = [
        f"{int(k)} " + " ".join(f"{v:.6f}" for v in row) for k, row in zip(class_ids, centres, strict=True)
    ]
    file = target / f"{picture.path.stem}-{number}.png"
    label = Path(str(file.parent).replace("/images/", "/labels/")) / f"{file.stem}.txt"
    for each in (file, label):
        each.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cut)
    label.write_text("\n".join(rows), encoding="utf-8")
    return file


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
    for number, pictures in enumerate(sorted({file.parent for file in strips.rglob("*.png")})):
        part = f"{name}/detections-{number}.jsonl"
        loomsight(
            folder, "edge-run", "--camera", str(pictures), "--model", bundle, "--detections", part,
            "--mm-per-px", str(arguments.mm_per_px), "--threads", str(arguments.threads or 2), log=log,
        )  # fmt: skip
        lines.append((folder / part).read_text(encoding="utf-8"))
    (folder / name / "detections.jsonl").write_text("".join(lines), encoding="utf-8")


def results(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Score both halves of each row together: every strip once, by the detector that had not seen it."""
    rows = {}
    for row in (PLAIN, *wanted(arguments)):
        files = [folder / f"{row.name}-{fold}" / "detections.jsonl" for fold in FOLDS]
        command = [
            sys.executable, str(arguments.scorer), "--truth", str(arguments.strips / "voc"),
            "--clean", str(arguments.strips / "clean"), *map(str, files),
        ]  # fmt: skip
        rows[row.name] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    plain = rows[PLAIN.name]["map_hit"]
    best = max(row["map_hit"] for name, row in rows.items() if name.startswith("distilled-simulated"))
    settings = {k: str(v.name) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
    return {
        "settings": settings,
        "rows": rows,
        "ratio_to_plain": round(best / plain, 2) if plain else None,
    }


def table(result: dict[str, Any]) -> str:
    """Return the table as it stands in the docs."""
    lines = ["| Detector | map_hit | map50 | recall at 0.1 alarms per clean strip |", "|---|---|---|---|"]
    for name, row in result["rows"].items():
        working = row["operating"] or {"recall": 0.0}
        lines.append(f"| {name} | {row['map_hit']:.3f} | {row['map50']:.3f} | {working['recall']:.3f} |")
    ratio = result["ratio_to_plain"] or "not known, the plain one finds nothing"
    return "\n".join([*lines, f"distilled after simulated cloth / plain: {ratio}"])


def _write_list(file: Path, paths: Iterable[Path]) -> None:
    file.write_text("\n".join(map(str, paths)) + "\n", encoding="utf-8")


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
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], help="[default: all]")
    parser.add_argument("--pretraining-epochs", type=int, default=12, help="on simulated cloth")
    parser.add_argument("--simulated", type=int, default=1500, help="pictures")
    parser.add_argument("--plain-epochs", type=int, default=60, help="counted as those of the others")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once")
    parser.add_argument("--threads", type=int, default=1, help="of a detector that looks; 0 takes two")
    return parser.parse_args()


if __name__ == "__main__":
    main()

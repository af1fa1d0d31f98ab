"""The README's chain "On your own cloth", by folds: what a tuned detector finds at the shipped thresholds.

Usage: python docs/benchmarks/own_cloth.py STRIPS OUT.json --folder FOLDER [--folds 4] [--seeds 0 1]

STRIPS holds voc/ (LabelImg's form) and images/ of strips with defects and clean/ of strips without. For
each fold and seed: `labels convert`, `distill --recipe mill --start-from shipped`, `export`, `edge-run`
over the strips held out, with the new bundle and with the shipped one. No command is given a threshold.

What is done in the folder already is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from commands import loomsight

from distill.evaluation.hits import points_at
from distill.labels.formats.registry import read_labels
from distill.labels.sets.annotations import LabelSet
from distill.labels.sets.clean import with_clean_images
from distill.labels.sets.sharing import SharingOptions, with_groups
from distill.labels.sets.split import split
from distill.settings.shipped import SHIPPED
from edge.backends.probe import processor_name
from edge.core.taxonomy import load_taxonomy

GROUP = "^(?P<group>[0-9]+)"


class Score(NamedTuple):
    """Count what a bundle reports on strips that it was not trained on."""

    defects: int
    found: int
    false_positives: int
    false_positives_on_clean: int


def main() -> None:
    """Train, look and count; print the table and write it."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    strips = read_labels(
        arguments.strips / "voc", load_taxonomy(), image_folder=arguments.strips / "images"
    )
    strips = with_groups(with_clean_images(strips, arguments.strips / "clean"), SharingOptions(group=GROUP))
    names = [f"fold {number}" for number in range(arguments.folds)]
    shared = split(strips, dict.fromkeys(names, 1 / arguments.folds), seed=1)
    runs = []
    for seed in arguments.seeds:
        for number, name in enumerate(names):
            run = one_run(arguments.folder / f"seed-{seed}-fold-{number}", shared, name, seed)
            print(json.dumps(run), flush=True)
            runs.append(run)
    result = {"processor": processor_name(), "runs": runs, "sums": sums(runs)}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["sums"], indent=1))


def one_run(folder: Path, strips: LabelSet, held_out: str, seed: int) -> dict[str, Any]:
    """Go through the chain once and look at the strips held out."""
    done = folder / "scores.json"
    if not done.is_file():
        if not (folder / "voc").is_dir():
            link_strips(folder, strips, held_out)
        log = folder / "log.txt"
        if not (folder / "mill" / "data.yaml").is_file():
            loomsight(
                folder, "labels", "convert", "voc", "--pictures", "images", "--clean", "clean",
                "--group", GROUP, "--out", "mill", log=log,
            )  # fmt: skip
        how = ("--resume",) if (folder / "ours" / "stages.json").is_file() else ("--start-from", SHIPPED)
        loomsight(
            folder,
            "distill",
            "mill",
            "--recipe",
            "mill",
            "--seed",
            str(seed),
            "--out",
            "ours",
            *how,
            log=log,
        )
        loomsight(
            folder, "export", "ours/best.pt", "--images", "mill/images/test", "--out", "bundle",
            "--overwrite", log=log,
        )  # fmt: skip
        scores = {
            name: look(folder, strips, held_out, name, model)
            for name, model in (("tuned", ("--model", "bundle")), ("shipped", ()))
        }
        verdict = json.loads((folder / "ours" / "operating_point.json").read_bytes())
        is_kept = (folder / "ours" / "tuned.pt").is_file()
        row = {"seed": seed, "held_out": held_out, "keeps_shipped": is_kept,
               **{name: score._asdict() for name, score in scores.items()}, "verdict": verdict}  # fmt: skip
        done.write_text(json.dumps(row), encoding="utf-8")
    row = json.loads(done.read_bytes())
    return {
        **row,
        "verdict": {key: row["verdict"][key] for key in ("thresholds", "before", "after", "chance")},
    }


def link_strips(folder: Path, strips: LabelSet, held_out: str) -> None:
    """Lay out what a mill has: LabelImg's files, images, clean strips; those held out beside them."""
    for image in strips.images:
        path = strips.root / image.file_name
        kind = "clean" if path.parent.name == "clean" else "images"
        where = folder / ("held-out" if image.split == held_out else kind)
        where.mkdir(parents=True, exist_ok=True)
        os.link(path, where / path.name) if _same_disk(path, where) else shutil.copyfile(
            path, where / path.name
        )
        if kind == "images" and image.split != held_out:
            (folder / "voc").mkdir(exist_ok=True)
            shutil.copyfile(
                path.parents[1] / "voc" / f"{path.stem}.xml", folder / "voc" / f"{path.stem}.xml"
            )


def look(folder: Path, strips: LabelSet, held_out: str, name: str, model: tuple[str, ...]) -> Score:
    """Run a bundle over the strips held out and compare with the labels."""
    file = f"{name}.jsonl"
    (folder / file).unlink(missing_ok=True)
    loomsight(
        folder, "edge-run", "--camera", "held-out", "--detections", file, *model, log=folder / "log.txt"
    )
    reported: dict[str, list[list[float]]] = defaultdict(list)
    for line in (folder / file).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        reported[Path(row["source"]).name] += [one["box_xyxy_px"] for one in row["detections"]]
    counts = np.zeros(4, int)
    for image in strips.images:
        if image.split == held_out:
            found = np.array(reported[Path(image.file_name).name], np.float32).reshape(-1, 4)
            ground_truth = np.array([region.box_xyxy_px for region in image.regions], np.float32).reshape(
                -1, 4
            )
            pointed = points_at(found, ground_truth)
            wrong = int((~pointed.any(axis=1)).sum())
            counts += [
                len(ground_truth),
                int(pointed.any(axis=0).sum()),
                wrong,
                0 if len(ground_truth) else wrong,
            ]
    return Score(*counts.tolist())


def sums(runs: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Add up each seed's folds: every strip once."""
    added: dict[str, dict[str, int]] = {}
    for run in runs:
        for name in ("tuned", "shipped"):
            row = added.setdefault(f"seed {run['seed']} {name}", dict.fromkeys(Score._fields, 0))
            for key in row:
                row[key] += run[name][key]
    return added


def _same_disk(path: Path, where: Path) -> bool:
    return path.stat().st_dev == where.stat().st_dev


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("strips", type=lambda text: Path(text).resolve())
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Let good and deliberately wrong annotators label simulated cloth, and count what is accepted of it.

Usage: python docs/benchmarks/engine.py OUT.json [--folder FOLDER]

A weak detector, trained on the few reviewed images, is asked beside annotators that know the ground truth
and say it badly (see simulated_annotators.py). The second round teaches it on what the first accepted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from commands import loomsight
from simulated_annotators import write_ground_truth

from distill.labels.engine.region_lines import region_from
from distill.labels.engine.reliability import judge
from distill.labels.engine.shards import ShardFolder
from distill.labels.formats.registry import read_labels
from distill.labels.sets.annotations import LabelSet, Region
from edge.core.taxonomy import load_taxonomy

REVIEWED = ("--images", "600", "--seed", "7101", "--split", "train=0.2,val=0.4,test=0.4")
NEW = ("--images", "1000", "--seed", "7102", "--split", "train=0.98,val=0.02")
CLOTH = (
    "--size-hw", "256", "256", "--defects-per-m", "15", "--weave", "plain", "--warp-pitch-px", "4",
    "--weft-pitch-px", "4", "--mean-grey", "120", "--difficulty", "obvious", "--difficulty", "clear",
)  # fmt: skip
ROUNDS = 2

MANNERS: Mapping[str, Mapping[str, Any]] = {
    "steady": {"miss": 0.25, "invent": 0.15, "surety": (0.75, 0.55)},
    "shifts": {"habit": "shifts", "miss": 0.2},
    "misnames": {"habit": "misnames", "miss": 0.2},
    "dreams": {"miss": 0.4, "invent": 0.6, "surety": (0.6, 0.8)},
    "doubles": {"habit": "doubles", "miss": 0.35, "sloppiness": 0.06},
}


def main() -> None:
    """Weave, train, label, count; print the result and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=Path, help="work here and keep it  [default: a temporary folder]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        result = run(folder)
    text = json.dumps(result, indent=1)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def run(folder: Path) -> dict[str, Any]:
    """Do all of it in a folder; what is there already is taken as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in (("reviewed", REVIEWED), ("new", NEW)):
        if not (folder / name).is_dir():
            loomsight(folder, "simulate", "--out", name, "--workers", "2", *options, *CLOTH)
    taxonomy = load_taxonomy()
    reviewed, new = (read_labels(folder / name, taxonomy) for name in ("reviewed", "new"))
    write_ground_truth([reviewed, new], folder / "truth.json")
    (folder / "recipe.toml").write_text('scale = "p"\nepochs = 30\nbatch = 8\n', encoding="utf-8")
    if not (folder / "weak" / "metrics.json").is_file():
        loomsight(folder, "distill", "reviewed", "--recipe", "recipe.toml", "--out", "weak")
    (folder / "engine.toml").write_text(settings_text(folder / "truth.json"), encoding="utf-8")
    resume = ("--resume",) if (folder / "job").is_dir() else ()
    loomsight(
        folder, "pseudo-label", "new/images/train", "--reviewed", "reviewed", "--settings", "engine.toml",
        "--out", "job", "--rounds", str(ROUNDS), *resume,
    )  # fmt: skip
    return counted(folder / "job", new)


def settings_text(ground_truth: Path) -> str:
    """Return the settings of the engine."""
    rows = ["[[annotators]]", 'kind = "detector"', 'model = "weak/best.pt"', "teaching = {epochs = 8}"]
    for name, manner in MANNERS.items():
        values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in manner.items())
        rows += [
            "[[annotators]]", 'kind = "python"', f'name = "{name}"',
            'model = "simulated_annotators:annotator"',
            f"settings = {{truth = {json.dumps(str(ground_truth))}, {values}}}",
        ]  # fmt: skip
    return "\n".join(rows) + "\n"


def counted(job: Path, new: LabelSet) -> dict[str, Any]:
    """Count single annotators and the accepted sets of all rounds against the ground truth."""
    ground_truth = {
        Path(image.file_name).name: image.regions for image in new.images if image.split == "train"
    }
    answers = {
        folder.name.rsplit("-", 1)[0] + ("" if first else ", taught"): folder / "pictures"
        for name in sorted({f.name.rsplit("-", 1)[0] for f in (job / "answers").iterdir()})
        for first, folder in _by_age(job / "answers", name)
        if (folder / "pictures").is_dir()
    }
    rounds = sorted(
        (f for f in (job / "rounds").iterdir() if (f / "decided").is_dir()), key=lambda f: int(f.name)
    )
    return {
        "single_at_their_best_threshold": {
            n: best_of_one(records(f), ground_truth) for n, f in answers.items()
        },
        "accepted": {f"round {f.name}": accepted(records(f / "decided"), ground_truth) for f in rounds},
        "reports": [json.loads((f / "report.json").read_text(encoding="utf-8")) for f in rounds],
    }


def _by_age(answers: Path, name: str) -> list[tuple[bool, Path]]:
    folders = sorted(answers.glob(f"{name}-*"), key=lambda folder: folder.stat().st_mtime)
    return [(position == 0, folder) for position, folder in enumerate(folders)]


def records(folder: Path) -> list[dict[str, Any]]:
    """Read all shards of a folder."""
    return list(ShardFolder(folder, len(list(folder.glob("*.jsonl")))).all_records())


def regions_of(record: Mapping[str, Any]) -> list[Region]:
    """Read the regions of a line that count: not those that wait for a person."""
    read = [region_from(values) for values in record.get("regions", ())]
    return [region for region in read if region.review != "queued"]


def accepted(
    said: Iterable[Mapping[str, Any]], ground_truth: Mapping[str, Sequence[Region]]
) -> dict[str, Any]:
    """Count accepted boxes."""
    pairs = [judged(record, ground_truth) for record in said]
    return fractions(
        sum(int(right.sum()) for _, right in pairs), sum(len(right) for _, right in pairs), ground_truth
    )


def best_of_one(
    said: Iterable[Mapping[str, Any]], ground_truth: Mapping[str, Sequence[Region]]
) -> dict[str, Any]:
    """Count an annotator's boxes above the threshold that is best on this ground truth, which it cannot
    know."""
    pairs = [judged(record, ground_truth) for record in said]
    scores, right = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    order = np.argsort(-scores, kind="stable")
    hits, total = np.cumsum(right[order]), sum(map(len, ground_truth.values()))
    best = int(np.argmax(2 * hits / (np.arange(1, len(hits) + 1) + total)))
    return {
        "threshold": round(float(scores[order][best]), 3),
        **fractions(int(hits[best]), best + 1, ground_truth),
    }


def judged(record: Mapping[str, Any], ground_truth: Mapping[str, Sequence[Region]]) -> tuple[Any, Any]:
    """Judge the regions of a line."""
    return judge(regions_of(record), ground_truth[Path(record["image"]).name])


def fractions(right: int, boxes: int, ground_truth: Mapping[str, Sequence[Region]]) -> dict[str, Any]:
    """Return precision, recall and their harmonic mean."""
    total = sum(map(len, ground_truth.values()))
    return {
        "boxes": boxes,
        "right": right,
        "true_boxes": total,
        "precision": round(right / boxes, 4) if boxes else None,
        "recall": round(right / total, 4),
        "f1": round(2 * right / (boxes + total), 4),
    }


if __name__ == "__main__":
    main()

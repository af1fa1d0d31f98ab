"""Compare bundles on real clean cloth with planted defects, at one rate of false alarms.

Usage: python docs/benchmarks/looks.py CLEAN OUT.json --folder FOLDER --bundle NAME=PATH ...

CLEAN holds strips without defects. Defects of both looks of the simulator are planted in cuts of them, and
each bundle inspects the cuts and the strips through `edge-run` with low thresholds. One threshold for all
classes is set by the false alarms on the strips; a second row has the thresholds of the bundle. A defect is
found if a report overlaps it by IoU 0.1 or has its centre in it. No strip with a real defect is looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from commands import loomsight

from distill.evaluation.hits import points_at
from edge.backends.probe import processor_name
from edge.bundle.opening import open_bundle
from edge.core.files import file_digest
from edge.inference.model import contract_of

LOOKS = ("drawn", "woven")
LOW = 0.03
RATES = (0.1, 0.3)
"""False alarms per clean strip."""

Reports = list[tuple[str, float, tuple[float, ...]]]


class Planted(NamedTuple):
    """Hold what a bundle reports around one planted defect: class to its best score."""

    category: str
    scores: dict[str, float]


def main() -> None:
    """Plant, look, count; print the table and write it."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for look in LOOKS:
        if not (arguments.folder / look).is_dir():
            loomsight(
                arguments.folder, "simulate", "--on", str(arguments.clean), "--out", look, "--look", look,
                "--images", "160", "--seed", "4711", "--split", "test=1", "--size-hw", "256", "1024",
                "--defects-per-m", "8",
            )  # fmt: skip
    bundles = dict(one.split("=", 1) for one in arguments.bundle)
    rows = {
        name: judged(arguments.folder, arguments.clean, Path(path).resolve())
        for name, path in bundles.items()
    }
    result = {"processor": processor_name(), "rows": rows}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))


def judged(folder: Path, clean: Path, bundle: Path) -> dict[str, Any]:
    """Return what a bundle finds at each rate of false alarms, and at its own thresholds."""
    classes = contract_of(open_bundle(bundle)).class_names
    strips = list(reports(folder, clean, bundle, classes).values())
    alarms = [(label, score) for strip in strips for label, score, _ in strip]
    planted = {look: list(_planted(folder, look, bundle, classes)) for look in LOOKS}
    highest_first = sorted((score for _, score in alarms), reverse=True)
    result: dict[str, Any] = {
        "bundle_sha256": file_digest(bundle / "bundle.json"),
        "clean_strips": len(strips),
    }
    for rate in RATES:
        permitted = int(rate * len(strips))
        level = highest_first[permitted] if permitted < len(highest_first) else LOW
        levels = {name: float(np.nextafter(level, 1.0)) for name in classes}
        result[f"{rate:g} a strip"] = _counted(alarms, planted, levels)
    contract = contract_of(open_bundle(bundle))
    own = {name: float(contract.score_thresholds[name] or 0.0) for name in classes}
    result["its thresholds"] = _counted(alarms, planted, own) | {"thresholds": own}
    return result


def _counted(
    alarms: Iterable[tuple[str, float]], planted: Mapping[str, list[Planted]], levels: Mapping[str, float]
) -> dict[str, Any]:
    found = {
        look: sum(any(score >= levels[name] for name, score in one.scores.items()) for one in all_of)
        for look, all_of in planted.items()
    }
    return {
        "false_alarms": sum(score >= levels[label] for label, score in alarms),
        "found": found,
        "planted": {look: len(all_of) for look, all_of in planted.items()},
    }


def _planted(folder: Path, look: str, bundle: Path, classes: Iterable[str]) -> Iterable[Planted]:
    """Yield the planted defects of a look, with what is reported of them."""
    found = reports(folder, folder / look / "images" / "test", bundle, classes)
    document = json.loads((folder / look / "annotations" / "test.json").read_bytes())
    names = {image["id"]: Path(image["file_name"]).name for image in document["images"]}
    for defect in document["annotations"]:
        left, top, width, height = defect["bbox"]
        box = np.array([[left, top, left + width, top + height]])
        scores: dict[str, float] = {}
        for label, score, reported in found[names[defect["image_id"]]]:
            if points_at(np.array([reported]), box)[0, 0]:
                scores[label] = max(score, scores.get(label, 0.0))
        yield Planted(defect["category"], scores)


def reports(folder: Path, images: Path, bundle: Path, classes: Iterable[str]) -> dict[str, Reports]:
    """Inspect a folder with low thresholds; what is done already is not done again.

    Returns:
        File name of an image -> class, score and box of each report.
    """
    seen = (
        folder
        / f"{file_digest(bundle / 'bundle.json')[:12]}-{images.parent.parent.name}-{images.name}.jsonl"
    )
    if not seen.is_file():
        settings = folder / "low.toml"
        levels = "".join(f"{name} = {LOW}\n" for name in classes)
        settings.write_text(f"near_miss = 0\n[score_thresholds]\n{levels}", encoding="utf-8")
        partial = seen.with_suffix(".partial")
        loomsight(
            folder, "edge-run", "--config", str(settings), "--camera", str(images), "--model", str(bundle),
            "--mm-per-px", "0.2", "--detections", str(partial),
        )  # fmt: skip
        partial.rename(seen)
    lines = [json.loads(line) for line in seen.read_text(encoding="utf-8").splitlines()]
    return {
        Path(line["source"]).name: [
            (one["label"], one["score"], tuple(one["box_xyxy_px"])) for one in line["detections"]
        ]
        for line in lines
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    absolute = lambda text: Path(text).resolve()  # noqa: E731
    parser.add_argument("clean", type=absolute)
    parser.add_argument("out", type=absolute)
    parser.add_argument("--folder", type=absolute, required=True)
    parser.add_argument("--bundle", action="append", required=True, metavar="NAME=PATH")
    return parser.parse_args()


if __name__ == "__main__":
    main()

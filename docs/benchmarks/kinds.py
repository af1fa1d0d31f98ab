"""Measure how often the kind of a defect is right, and how often it is left unknown.

Usage:
  loomsight simulate --look woven --out woven --images 60 --seed 901 --split train=1 --defects-per-m 40 \\
      --defect-share 1 --size-hw 512 1024          (and the same with --look drawn)
  python docs/benchmarks/kinds.py OUT.json --simulated woven drawn --aitex voc/ images/

Each set is measured twice: with the boxes and classes of the ground truth, which says what the rules are
worth, and with those that `edge-run` reports with the shipped model, which is what a mill sees. With
--found FOLDER its detections are kept, and read again the next time: rules may change, boxes do not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from commands import python

from edge.backends.probe import processor_name
from edge.cloth.appearance import measure_appearance
from edge.cloth.kinds import kind_of
from edge.core.geometry import iou_matrix
from edge.core.image_file import read_image
from edge.core.taxonomy import load_taxonomy
from edge.simulator.woven.spot_figures import SLUB_PROPORTION

EDGE_RUN = "from edge.commands.entry import edge_run; edge_run()"
SCALE_MM = 0.2
"""Millimetres per pixel of the simulated sets, and those that the shipped model takes strips to have."""

NOT_COUNTED = "barely visible"
LEAST_IOU = 0.1
UNKNOWN, NOT_FOUND = "unknown", "not found"

KIND_OF_AITEX = {"fuzzyball": "nep", "warp ball": "nep"}
"""AITEX's own names that a mill grades under another one: a small tangle of fibre is a nep. All others are
kinds of the taxonomy by name."""


Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Hold a defect of the ground truth: image, box in its pixels, kind, and class of that kind."""

    image: Path
    box_xyxy_px: Box
    kind: str
    class_name: str


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--simulated", type=Path, nargs="+", default=[])
    parser.add_argument("--aitex", type=Path, nargs=2, metavar=("VOC", "IMAGES"))
    parser.add_argument("--found", type=Path, help="folder for what edge-run reports")
    parser.add_argument("--without-detector", action="store_true", help="ground-truth boxes only")
    arguments = parser.parse_args()
    sets = {folder.name: list(simulated(folder)) for folder in arguments.simulated}
    if arguments.aitex:
        sets["aitex"] = list(aitex(*arguments.aitex))
    result: dict[str, Any] = {"processor": processor_name()}
    for name, labelled in sets.items():
        result[name] = {"ground-truth boxes": scored(by_rules(labelled))}
        if not arguments.without_detector:
            file = (arguments.found or Path(tempfile.mkdtemp())) / f"{name}.jsonl"
            result[name]["edge-run"] = scored(by_edge_run(labelled, file))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(tables(result))


def simulated(folder: Path) -> Iterator[Labelled]:
    """Yield the defects of a simulated set, but for the barely visible."""
    for file in sorted((folder / "annotations").glob("*.json")):
        coco = json.loads(file.read_text(encoding="utf-8"))
        paths = {image["id"]: _image_of(folder, file.stem, image["file_name"]) for image in coco["images"]}
        for one in coco["annotations"]:
            if one["difficulty"] == NOT_COUNTED:
                continue
            left, top, width, height = one["bbox"]
            box = (left, top, left + width, top + height)
            name = load_taxonomy().class_of(one["category"])
            yield Labelled(paths[one["image_id"]], box, _drawn_kind(one["category"], width, height), name)


def _image_of(folder: Path, split: str, name: str) -> Path:
    return folder / "images" / split / Path(name).name


def _drawn_kind(category: str, width: float, height: float) -> str:
    """Return the kind that was drawn: the simulator draws a nep that is long as a slub."""
    is_long = max(width, height) >= SLUB_PROPORTION * min(width, height)
    return "slub" if category == "nep" and is_long else category


def aitex(voc: Path, images: Path) -> Iterator[Labelled]:
    """Yield the defects of AITEX's strips, with its own names from `<pose>`."""
    for file in sorted(voc.glob("*.xml")):
        root = ElementTree.parse(file).getroot()
        for thing in root.iter("object"):
            left, top, right, bottom = (
                float(thing.findtext(f"bndbox/{side}") or "nan")
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            name = thing.findtext("pose") or ""
            yield Labelled(
                images / (root.findtext("filename") or ""),
                (left, top, right, bottom),
                KIND_OF_AITEX.get(name, name),
                thing.findtext("name") or "",
            )


def by_rules(labelled: Iterable[Labelled]) -> Iterator[tuple[str, str]]:
    """Yield the kind of each defect and what the rules say with the boxes of the ground truth."""
    for one in labelled:
        yield one.kind, said_of(one.image, one.class_name, one.box_xyxy_px)


def said_of(image: Path, class_name: str, box_xyxy_px: Box) -> str:
    """Return what the rules say of a box, as `edge-run` asks them."""
    left, top, right, bottom = box_xyxy_px
    seen = measure_appearance(read_image(image), box_xyxy_px, (SCALE_MM, SCALE_MM))
    said = kind_of(class_name, (bottom - top) * SCALE_MM, (right - left) * SCALE_MM, seen)
    return said or UNKNOWN


def by_edge_run(labelled: Iterable[Labelled], file: Path) -> Iterator[tuple[str, str]]:
    """Yield the kind of each defect and what the rules say of the box that `edge-run` reports there."""
    by_image: dict[Path, list[Labelled]] = {}
    for one in labelled:
        by_image.setdefault(one.image, []).append(one)
    if not file.exists():
        inspect(by_image, file)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = {line["source"]: line["detections"] for line in lines}
    for image, mine in by_image.items():
        records = found.get(image.name, [])
        boxes = np.array([record["box_xyxy_px"] for record in records], np.float32).reshape(-1, 4)
        for one in mine:
            overlap = iou_matrix(np.array([one.box_xyxy_px], np.float32), boxes)[0]
            is_hit = (overlap >= LEAST_IOU) | _holds_centre(one, boxes)
            if not is_hit.any():
                yield one.kind, NOT_FOUND
                continue
            best = int(np.where(is_hit, overlap + 1, 0).argmax())
            yield one.kind, said_of(image, records[best]["label"], tuple(records[best]["box_xyxy_px"]))


def _holds_centre(one: Labelled, boxes: Any) -> Any:
    """Tell of each box whether it holds the centre of a defect."""
    left, top, right, bottom = one.box_xyxy_px
    x, y = (left + right) / 2, (top + bottom) / 2
    return (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])


def inspect(images: Iterable[Path], out: Path) -> None:
    """Inspect images with the shipped model."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for image in images:
            (folder / "images" / image.name).symlink_to(image.resolve())
        python(folder, EDGE_RUN, "--camera", str(folder / "images"), "--detections", str(out.resolve()))


def scored(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Count what was said of each kind."""
    confusion: dict[str, Counter[str]] = {}
    for kind, said in pairs:
        confusion.setdefault(kind, Counter())[said] += 1
    right = sum(row[kind] for kind, row in confusion.items())
    looked = sum(row.total() - row[NOT_FOUND] for row in confusion.values())
    unknown = sum(row[UNKNOWN] for row in confusion.values())
    named = looked - unknown
    return {
        "defects": sum(row.total() for row in confusion.values()),
        "found": looked,
        "named": named,
        "right": right,
        "accuracy_of_named": round(right / named, 4) if named else None,
        "unknown_ratio": round(unknown / looked, 4) if looked else None,
        "confusion": {kind: dict(sorted(row.items())) for kind, row in sorted(confusion.items())},
    }


def tables(result: dict[str, Any]) -> str:
    """Write the result as Markdown."""
    lines = [
        "| Set | Boxes | Defects | Found | Kind said | Right | Left unknown |",
        "|---|---|---|---|---|---|---|",
    ]
    sets = [
        (name, way, one)
        for name, ways in result.items()
        if isinstance(ways, dict)
        for way, one in ways.items()
    ]
    for name, way, one in sets:
        accuracy, unknown = (one[key] for key in ("accuracy_of_named", "unknown_ratio"))
        right = "" if accuracy is None else f"{one['right']} ({accuracy:.0%})"
        share = "" if unknown is None else f"{unknown:.0%}"
        lines.append(
            f"| {name} | {way} | {one['defects']} | {one['found']} | {one['named']} | {right} | {share} |"
        )
    for name, way, one in sets:
        said = sorted({word for row in one["confusion"].values() for word in row})
        lines += ["", f"{name}, {way}:", "", f"| Is | {' | '.join(said)} |", "|---" * (len(said) + 1) + "|"]
        for kind, row in one["confusion"].items():
            cells = " | ".join(str(row.get(word, "")) for word in said)
            lines.append(f"| {kind} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

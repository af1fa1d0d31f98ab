"""Measure the reference model alone on real strips: taught per fabric on clean ones, scored on others.

Usage: python docs/benchmarks/reference.py STRIPS OUT.json [--scorer SCORER]

STRIPS holds teach/ (clean strips to teach on), images/ and voc/ (strips with boxes, Pascal VOC) and clean/.
Names end with the fabric. The fit is on one half of a fabric's strips, the level from the other half, both
ways round: the order statistic of the strips' maxima that the budget of 0.1 alarms per strip asks for.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cloth.finder import GrainFinder
from edge.cloth.grain import CELL_PX
from edge.image import Image
from edge.reference.maps import CHANNELS
from edge.reference.model import Look, ReferenceModel
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import Trunk

ALARMS_PER_STRIP = 0.1
SUSPICIOUS = 2.0
"""A strip with a maximum so many times the median of its fabric's is left out: it shows no clean cloth."""
TILE_PX = 256
AUROC_FABRICS = ("00", "01", "02", "03", "04", "06")
Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Strip:
    """Hold a strip and where in it is cloth."""

    name: str
    image: Image
    is_cloth: NDArray[np.bool_]

    @property
    def fabric(self) -> str:
        return Path(self.name).stem.split("_")[-1]


def read_strips(folder: Path) -> Iterator[Strip]:
    """Read the strips of a folder, in the order of their names."""
    for path in sorted(folder.glob("*.png")):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cells = GrainFinder().find(image).cells
        mask = np.repeat(np.repeat(cells, CELL_PX, 0), CELL_PX, 1)
        yield Strip(path.name, image, mask[: image.shape[0], : image.shape[1]])


@dataclass(frozen=True)
class Article:
    """Hold what was taught of a fabric, and its levels."""

    taught: TaughtCloth
    levels: dict[str, float]


def teach(strips: Sequence[Strip], trunk: Trunk) -> Article:
    """Fit on one half and calibrate on the other, both ways round; the fit that is used is on all."""
    halves = [strips[::2], strips[1::2]]
    maxima = []
    for fitted, held_out in (halves, halves[::-1]):
        taught = fit(fitted, trunk)
        maxima += [maxima_of(strip, taught, trunk) for strip in held_out]
    return Article(fit(strips, trunk), joint_levels(maxima))


def fit(strips: Iterable[Strip], trunk: Trunk) -> TaughtCloth:
    return TaughtCloth.fit(((strip.image, strip.is_cloth) for strip in strips), trunk)


def maxima_of(strip: Strip, taught: TaughtCloth, trunk: Trunk) -> dict[str, float]:
    return dict(ReferenceModel(trunk, taught).look(strip.image, strip.is_cloth).maxima)


def joint_levels(maxima: Sequence[dict[str, float]]) -> dict[str, float]:
    """Set the levels of all channels by one order statistic of the largest of their ratios.

    With fewer strips than the budget needs it is the largest there is.
    """
    units = {name: float(np.median([one[name] for one in maxima])) for name in CHANNELS}
    joint = sorted(max(one[name] / units[name] for name in CHANNELS) for one in maxima)
    joint = [ratio for ratio in joint if ratio <= SUSPICIOUS * float(np.median(joint))]
    rank = math.ceil((len(joint) + 1) * (1 - ALARMS_PER_STRIP))
    level = joint[min(rank, len(joint)) - 1] * (1 + 1e-6)
    return {name: level * unit for name, unit in units.items()}


def look(strip: Strip, article: Article, trunk: Trunk) -> Look:
    return ReferenceModel(trunk, article.taught, article.levels).look(strip.image, strip.is_cloth)


def tile_scores(strip: Strip, article: Article, trunk: Trunk) -> dict[int, float]:
    """Return the largest ratio in each tile that is at least half cloth: number -> ratio."""
    model = ReferenceModel(trunk, article.taught, article.levels)
    features = trunk.features(strip.image, strip.is_cloth, article.taught.selvedges_px)
    excess, _ = model.maps(features)
    ratios = np.max([excess[name] / article.levels[name] for name in CHANNELS], axis=0)
    side, scores = TILE_PX // trunk.stride_px, {}
    for number in range(strip.image.shape[1] // TILE_PX):
        at = np.s_[:, number * side : (number + 1) * side]
        if features.is_judged[at].mean() > 0.5:
            scores[number] = float(ratios[at].max())
    return scores


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the chance that a positive scores higher than a negative."""
    a, b = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def read_truth(folder: Path) -> dict[str, Boxes]:
    """Read LabelImg's boxes: stem -> (N, 4)."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    return {
        path.stem: np.array(
            [
                [float(box.findtext(c, "nan")) for c in corners]
                for box in ElementTree.parse(path).iter("bndbox")
            ],
            np.float32,
        )
        for path in sorted(folder.glob("*.xml"))
    }


def hits(found: Boxes, truth: Boxes) -> NDArray[np.bool_]:
    """Tell which boxes are hit: IoU of at least 0.1, or the centre of a region within."""
    hit = np.zeros(len(truth), bool)
    for i, box in enumerate(truth):
        for one in found:
            w = min(one[2], box[2]) - max(one[0], box[0])
            h = min(one[3], box[3]) - max(one[1], box[1])
            inter = max(w, 0) * max(h, 0)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, box)]
            centre = (one[:2] + one[2:]) / 2
            inside = bool((centre >= box[:2]).all() and (centre <= box[2:]).all())
            hit[i] |= inside or inter / (sum(areas) - inter) >= 0.1
    return hit


def record(strip: Strip, seen: Look) -> dict[str, Any]:
    """Write regions as detections of one class; a ratio r is a score of r / (1 + r)."""
    regions = seen.regions
    return {
        "source": strip.name,
        "detections": [
            {"label": "broken", "score": float(r / (1 + r)), "box_xyxy_px": [float(v) for v in box]}
            for box, r in zip(regions.boxes_xyxy_px, regions.ratios, strict=True)
        ],
    }


def real(strips: Path, out: Path, scorer: Path | None) -> dict[str, Any]:
    """Score on labelled strips, at the level that the clean ones set."""
    trunk, truth = Trunk(), read_truth(strips / "voc")
    articles = articles_of(strips / "teach", trunk)
    lines, found, total, alarms, seconds, cloth_px = [], 0, 0, [], 0.0, 0
    missed: list[str] = []
    positive: dict[str, list[float]] = defaultdict(list)
    negative: dict[str, list[float]] = defaultdict(list)
    for kind in ("images", "clean"):
        for strip in read_strips(strips / kind):
            article = articles[strip.fabric]
            begin_s = time.process_time()
            seen = look(strip, article, trunk)
            seconds += time.process_time() - begin_s
            cloth_px += strip.image.size
            lines.append(record(strip, seen))
            scores = tile_scores(strip, article, trunk)
            if kind == "clean":
                alarms.append(len(seen.regions))
                negative[strip.fabric] += scores.values()
                continue
            boxes = truth[Path(strip.name).stem]
            hit = hits(seen.regions.boxes_xyxy_px, boxes)
            found, total = found + int(hit.sum()), total + len(hit)
            missed += [f"{strip.name} {box.astype(int).tolist()}" for box in boxes[~hit]]
            covered = {
                n for x1, _, x2, _ in boxes for n in range(int(x1 // TILE_PX), int(x2 // TILE_PX) + 1)
            }
            positive[strip.fabric] += [score for n, score in scores.items() if n in covered]
    detections = out.with_suffix(".jsonl")
    detections.write_text("".join(json.dumps(line) + "\n" for line in lines))
    by_fabric = {f: round(auroc(positive[f], negative[f]), 4) for f in AUROC_FABRICS if positive[f]}
    result: dict[str, Any] = {
        "recall": round(found / total, 4),
        "alarms_per_clean_strip": round(float(np.mean(alarms)), 4),
        "clean_strips_with_alarm": int(np.sum(np.array(alarms) > 0)),
        "auroc": by_fabric,
        "auroc_mean": round(float(np.mean(list(by_fabric.values()))), 4),
        "processor_ms_per_tile": round(1000 * seconds / (cloth_px / TILE_PX**2), 3),
        "missed": missed,
    }
    if scorer is not None:
        result["scorer"] = scored(scorer, strips, detections)
    return result


def articles_of(folder: Path, trunk: Trunk) -> dict[str, Article]:
    by_fabric: dict[str, list[Strip]] = defaultdict(list)
    for strip in read_strips(folder):
        by_fabric[strip.fabric].append(strip)
    return {fabric: teach(some, trunk) for fabric, some in sorted(by_fabric.items())}


def scored(scorer: Path, strips: Path, detections: Path) -> Any:
    command = [
        sys.executable,
        str(scorer),
        "--truth",
        str(strips / "voc"),
        "--clean",
        str(strips / "clean"),
    ]
    done = subprocess.run([*command, str(detections)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("strips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scorer", type=Path)
    given = parser.parse_args()
    result = real(given.strips, given.out, given.scorer)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""Compare variants of the reference model by folds over clean strips, and on defects planted in them.

Usage: python docs/benchmarks/reference_folds.py TEACH PLANTED OUT.json [--leave-out NAME ...] [--every N]

TEACH holds clean strips whose names end with the fabric; PLANTED is what `loomsight simulate --on TEACH`
wrote. The strips of a fabric alternate between two halves; the reference of each half looks at the strips
of the other, as in `loomsight teach`. Levels for a strip come from the others of its fabric: false alarms
are counted on the strip itself, hits and the area under the curve of tiles on the defects planted in it.
Strips named in --leave-out, which are not clean, are not used; every Nth planted image is.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from reference import ALARMS_PER_STRIP, TILE_PX, Strip, auroc, by_fabric, hits, read_strip, read_strips
from reference_variants import VARIANTS, changed

from edge.config.alarm_budget import Budget, ClothAmount
from edge.core.detections import no_detections
from edge.reference.maps import CHANNELS
from edge.reference.model import Look, ReferenceModel, block_maxima
from edge.reference.regions import Regions, find_regions
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import STRIDE_PX, Trunk
from edge.teach.looks import JudgedStrip, SpooledStrip
from edge.teach.reports import calibrate

Maps = Mapping[str, Any]


@dataclass(frozen=True)
class Planted:
    """Hold a strip with planted defects."""

    strip: Strip
    source: str
    boxes: Any


@dataclass(frozen=True)
class Seen:
    """Hold the maps of a strip."""

    excess: Maps
    is_judged: Any

    @classmethod
    def of(cls, strip: Strip, model: ReferenceModel, trunk: Trunk) -> Seen:
        features = trunk.features(strip.image, strip.is_cloth)
        return cls(model.maps(features, follow=False)[0], features.is_judged)

    def regions(self, levels: Mapping[str, float]) -> Regions:
        height, width = self.is_judged.shape
        ratios = {name: values / np.float32(levels[name]) for name, values in self.excess.items()}
        return find_regions(ratios, STRIDE_PX, (height * STRIDE_PX, width * STRIDE_PX))

    def tiles(self, levels: Mapping[str, float]) -> dict[int, float]:
        ratios = np.max([values / levels[name] for name, values in self.excess.items()], axis=0)
        side = TILE_PX // STRIDE_PX
        parts = {n: np.s_[:, n * side : (n + 1) * side] for n in range(ratios.shape[1] // side)}
        return {n: float(ratios[at].max()) for n, at in parts.items() if self.is_judged[at].mean() > 0.5}

    def judged(self, number: int, provisional: Mapping[str, float]) -> JudgedStrip:
        maxima = {name: float(values.max()) for name, values in self.excess.items()}
        look = Look(
            self.regions(provisional),
            maxima,
            int(self.is_judged.sum()) * STRIDE_PX**2,
            0.0,
            block_maxima=block_maxima(self.excess, self.is_judged),
        )
        strip = SpooledStrip(number, "", number, None, 0, no_detections(), ClothAmount(1))
        return JudgedStrip(strip, look)


def measure(clean: Mapping[str, list[Strip]], planted: Mapping[str, list[Planted]], trunk: Trunk) -> Any:
    """Return what one variant reaches, mean over the fabrics for the area under the curve."""
    alarms, hit, areas = [], [], []
    for fabric, strips in sorted(clean.items()):
        models = _models(strips, trunk)
        seen = {
            strip.name: Seen.of(strip, model, trunk) for strip, model in zip(strips, models, strict=True)
        }
        levels = _levels(list(seen.values()), [strip.name for strip in strips])
        of_source = dict(zip(seen, models, strict=True))
        alarms += [len(one.regions(levels[name]).ratios) for name, one in seen.items()]
        negative = [value for name, one in seen.items() for value in one.tiles(levels[name]).values()]
        positive = []
        for one in planted[fabric]:
            maps = Seen.of(one.strip, of_source[one.source], trunk)
            hit += hits(maps.regions(levels[one.source]).boxes_xyxy_px, one.boxes).tolist()
            covered = {
                n for x1, _, x2, _ in one.boxes for n in range(int(x1 // TILE_PX), int(x2 // TILE_PX) + 1)
            }
            tiles = maps.tiles(levels[one.source])
            positive += [value for n, value in tiles.items() if n in covered]
        areas.append(auroc(positive, negative))
    return {
        "planted": len(hit),
        "recall": round(float(np.mean(hit)), 4),
        "strips": len(alarms),
        "alarms_per_clean_strip": round(float(np.mean(alarms)), 4),
        "clean_strips_with_alarm": sum(count > 0 for count in alarms),
        "auroc_mean": round(float(np.mean(areas)), 4),
    }


def _models(strips: Sequence[Strip], trunk: Trunk) -> list[ReferenceModel]:
    """Return for each strip the model that was fitted on the half of the strips that it is not in."""
    halves = [
        TaughtCloth.fit(((strip.image, strip.is_cloth) for strip in strips[first::2]), trunk)
        for first in (0, 1)
    ]
    return [ReferenceModel(trunk, halves[1 - number % 2]) for number in range(len(strips))]


def _levels(seen: Sequence[Seen], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Set the levels for each strip on the others."""
    blocks = [block_maxima(one.excess, one.is_judged) for one in seen]
    provisional = {
        name: float(np.median(np.concatenate([one[name] for one in blocks]))) for name in CHANNELS
    }
    judged = [one.judged(number, provisional) for number, one in enumerate(seen)]
    allowed = Budget(ALARMS_PER_STRIP, "image").set_on(ClothAmount(len(seen) - 1))
    return {
        name: calibrate([*judged[:number], *judged[number + 1 :]], {}, allowed).levels
        for number, name in enumerate(names)
    }


def read_planted(folder: Path, left_out: Sequence[str], every: int) -> dict[str, list[Planted]]:
    """Read every so many of the images that `simulate --on` wrote: fabric -> images."""
    found: dict[str, list[Planted]] = defaultdict(list)
    for path in sorted((folder / "annotations").glob("*.json")):
        given = json.loads(path.read_text())
        boxes = defaultdict(list)
        for one in given["annotations"]:
            x, y, width, height = one["bbox"]
            boxes[one["image_id"]].append([x, y, x + width, y + height])
        for image in given["images"][::every]:
            source = Path(image["clean_image"])
            if source.stem not in left_out and boxes[image["id"]]:
                strip = read_strip(folder / image["file_name"])
                fabric = source.stem.split("_")[-1]
                found[fabric].append(Planted(strip, source.name, np.array(boxes[image["id"]], np.float32)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("teach", type=Path)
    parser.add_argument("planted", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--leave-out", nargs="*", default=[])
    parser.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    clean = by_fabric(
        strip for strip in read_strips(given.teach) if Path(strip.name).stem not in given.leave_out
    )
    planted = read_planted(given.planted, given.leave_out, given.every)
    result = {}
    for name, variant in {"as shipped": changed, **VARIANTS}.items():
        with variant() as trunk:
            result[name] = measure(clean, planted, trunk)
        print(name, result[name], flush=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

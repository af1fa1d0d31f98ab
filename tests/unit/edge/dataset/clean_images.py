"""Clean cloth that the loom wove, saved as if a camera had taken it."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge.core.image import Image
from edge.simulator.loom import Loom
from edge.simulator.options import LoomOptions

BED_PX = 100
WARP_PX, WEFT_PX = 5.2, 4.1


def clean_cloth(seed: int, size_hw: tuple[int, int] = (256, 640), colour: bool = False) -> Image:
    """Weave clean cloth with a bed to its left; its right edge is out of view."""
    options = LoomOptions(
        seed=seed, width_px=size_hw[1], defects_per_m=0, colour=colour, mean_grey=120, texture_lines=401,
        warp_pitch_px=WARP_PX, weft_pitch_px=WEFT_PX, bed_left_mm=BED_PX * 0.2, bed_right_mm=-100,
    )  # fmt: skip
    return Loom(options).render(0, size_hw[0])


def save(folder: Path, **images: Image) -> Path:
    """Write images as PNG files."""
    folder.mkdir(exist_ok=True)
    for name, image in images.items():
        cv2.imwrite(str(folder / f"{name}.png"), image)
    return folder

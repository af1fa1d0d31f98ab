"""Panels, captions and files: the paper that the images of the documentation are drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from made import note

from edge.core.image import Image
from edge.core.labelled_boxes import draw_text
from edge.core.palette import MARK, WHITE

MOST_BYTES = 245_000
LINE_PX = 20


def as_bgr(image: Image) -> Image:
    """Give a grey image three equal channels; leave a colour image as it is."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8) if image.ndim == 2 else image


def enlarged(image: Image, factor: int) -> Image:
    """Repeat every pixel `factor` times, both ways: nothing is smoothed."""
    return np.asarray(image.repeat(factor, axis=0).repeat(factor, axis=1), np.uint8)


def boxed(image: Image, box_xyxy_px: tuple[int, int, int, int], reach_px: int = 8) -> Image:
    """Draw a rectangle around a place, `reach_px` away from it, on a copy."""
    left, top, right, bottom = box_xyxy_px
    drawn: Image = as_bgr(image).copy()
    corners = (left - reach_px, top - reach_px), (right + reach_px, bottom + reach_px)
    cv2.rectangle(drawn, *corners, MARK.bgr, 1)
    return drawn


def captioned(image: Image, lines: Sequence[str]) -> Image:
    """Put lines of text under an image."""
    strip = np.full((LINE_PX * len(lines) + 10, image.shape[1], 3), WHITE.bgr, np.uint8)
    for number, line in enumerate(lines):
        draw_text(strip, line, (4, 4 + number * LINE_PX))
    return np.vstack([as_bgr(image), strip])


def beside(images: Sequence[Image], gap_px: int = 8) -> Image:
    """Set images of one height side by side on white."""
    gap = np.full((images[0].shape[0], gap_px, 3), WHITE.bgr, np.uint8)
    return np.hstack([part for image in images for part in (gap, as_bgr(image))] + [gap])


def below(images: Sequence[Image], gap_px: int = 8) -> Image:
    """Set images of one width one below the other on white."""
    gap = np.full((gap_px, images[0].shape[1], 3), WHITE.bgr, np.uint8)
    return np.vstack([part for image in images for part in (gap, as_bgr(image))] + [gap])


def save(path: Path, image: Image, program: str) -> None:
    """Write a PNG, or a JPEG of the best quality that stays below `MOST_BYTES`, and note what made it.

    Args:
        path: of the image.
        image: BGR.
        program: file name of what draws it, in this folder.
    Raises:
        ValueError: if the file would be larger.
    """
    for quality in range(94, 40, -6):
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
        data = cv2.imencode(path.suffix, image, settings)[1]
        if len(data) < MOST_BYTES:
            path.write_bytes(data.tobytes())
            note(path, program)
            print(f"{path.name}: {image.shape[1]} x {image.shape[0]} px, {len(data) / 1000:.0f} kB")
            return
    raise ValueError(f"{path} is larger than {MOST_BYTES} bytes")

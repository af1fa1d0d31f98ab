"""Augment a training tile within a recipe's limits: its position, its flips and its light.

All of it happens before enhancement, as it would on the loom: the cloth moves and the lamp ages in front
of the camera, not behind the CLAHE.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from distill.settings.tables import Augmentation
from edge.core.geometry import Boxes, View
from edge.core.image import Image


def moved_view(
    view: View, frame_hw_px: tuple[int, int], limits: Augmentation, rng: np.random.Generator
) -> View:
    """Shift a tile and change its scale, within the frame.

    It never shows less than padding already shows: a tile does not grow past the frame, because the
    reflection that fills it would repeat defects without a label.
    """
    frame_h, frame_w = frame_hw_px
    height, width = view.bottom_px - view.top_px, view.right_px - view.left_px
    low, high = -np.log1p(limits.zoom_share), np.log1p(limits.zoom_share)
    zoom = float(np.exp(rng.uniform(low, high)))
    zoom = max(zoom, height / frame_h, width / frame_w)
    new_h, new_w = max(1, min(frame_h, int(height / zoom))), max(1, min(frame_w, int(width / zoom)))
    reach = limits.shift_share * rng.uniform(-1, 1, 2)
    top = view.top_px + (height - new_h) / 2 + reach[0] * new_h
    left = view.left_px + (width - new_w) / 2 + reach[1] * new_w
    top_px = round(min(max(0.0, top), frame_h - new_h))
    left_px = round(min(max(0.0, left), frame_w - new_w))
    return View(left_px, top_px, left_px + new_w, top_px + new_h, view.scale * zoom)


def flipped(
    image: Image, boxes_xyxy_px: Boxes, limits: Augmentation, rng: np.random.Generator
) -> tuple[Image, Boxes]:
    """Flip a tile and its boxes along each axis, each by chance.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        boxes_xyxy_px: (N, 4), pixels of the tile.
    """
    height, width = image.shape[:2]
    boxes = boxes_xyxy_px
    left_right, up_down = rng.random(2) < limits.flip_share
    if left_right:
        image = image[:, ::-1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    if up_down:
        image = image[::-1]
        boxes = np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], axis=1)
    return np.ascontiguousarray(image), boxes


def quarter_turned(
    image: Image,
    boxes_xyxy_px: Boxes,
    class_ids: NDArray[np.int64],
    turned_ids: Sequence[int | None],
    limits: Augmentation,
    rng: np.random.Generator,
) -> tuple[Image, Boxes, NDArray[np.int64]]:
    """Turn a square tile by 90 degrees, counterclockwise, by chance; flips make the other way of it.

    A broken end becomes a broken pick. A tile whose classes do not tell what becomes of them stays.

    Args:
        image: (S, S) or (S, S, 3) uint8.
        boxes_xyxy_px: (N, 4), pixels of the tile.
        class_ids: (N,).
        turned_ids: by class id, see `Taxonomy.quarter_turned_ids`.
    """
    if not limits.quarter_turn_share or rng.random() >= limits.quarter_turn_share:
        return image, boxes_xyxy_px, class_ids
    turned = [turned_ids[class_id] for class_id in class_ids]
    if None in turned:
        return image, boxes_xyxy_px, class_ids
    width, boxes = image.shape[1], boxes_xyxy_px
    boxes = np.stack([boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]], axis=1)
    return np.ascontiguousarray(np.rot90(image)), boxes, np.array(turned, np.int64).reshape(-1)


def relit(image: Image, limits: Augmentation, rng: np.random.Generator) -> Image:
    """Change brightness, contrast and gamma, add a little noise, and sometimes a light blur."""
    brightness, contrast, gamma = rng.uniform(-1, 1, 3) * (
        limits.brightness_share,
        limits.contrast_share,
        limits.gamma_share,
    )
    image = cv2.LUT(image, _tone_curve(brightness, 1 + contrast, 1 + gamma)).astype(np.uint8)
    if rng.random() < limits.blur_share:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0)).astype(np.uint8)
    deviation = rng.uniform(0, limits.noise_grey)
    if deviation > 0.25:  # below, rounding to whole grey values leaves nothing of it
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
        image = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    return image


def _tone_curve(brightness: float, contrast: float, gamma: float) -> NDArray[np.uint8]:
    """Return 256 grey values: out = 255 · (in / 255)^gamma, stretched about mid grey, then shifted."""
    grey = np.linspace(0, 1, 256) ** gamma
    return np.clip(np.rint(((grey - 0.5) * contrast + 0.5 + brightness) * 255), 0, 255).astype(np.uint8)

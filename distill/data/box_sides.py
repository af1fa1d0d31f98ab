"""Measure the boxes of the tiles that a training sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.data.tiles import TilePlan, visible_ground_truth


def tile_sides(plan: TilePlan) -> NDArray[np.float64]:
    """Return width and height of every box of every tile, in input pixels, (N, 2): what training sees."""
    found = [np.zeros((0, 4), np.float32)]
    for tile in plan.tiles:
        image = plan.images[tile.image_index]
        height, width = plan.frame_hw_px[tile.image_index]
        boxes = np.asarray(image.boxes_xyxy_norm * (width, height, width, height), np.float32)
        found.append(visible_ground_truth(boxes, image.class_ids, tile.view)[0])
    boxes = np.concatenate(found)
    return np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64)

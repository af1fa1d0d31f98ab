"""Measure the boxes of the tiles that a training sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.data.tiles import TilePlan, visible_truth


def tile_sides(plan: TilePlan) -> NDArray[np.float64]:
    """Return width and height of every box of every tile, in input pixels, (N, 2): what training sees."""
    found = [np.zeros((0, 4), np.float32)]
    for tile in plan.tiles:
        picture = plan.pictures[tile.picture]
        height, width = plan.frame_hw_px[tile.picture]
        boxes = np.asarray(picture.boxes_share * (width, height, width, height), np.float32)
        found.append(visible_truth(boxes, picture.class_ids, tile.view)[0])
    boxes = np.concatenate(found)
    return np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64)

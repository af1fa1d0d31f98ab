"""Find places for labels beside boxes: inside the image, and none over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FARTHEST_SCALE = 0.1
"""Cost of a distance of one label height, where covering a whole label of defects costs 1."""


class Place(NamedTuple):
    """Hold a rectangle of whole pixels; right and bottom lie outside it."""

    left: int
    top: int
    right: int
    bottom: int


def label_places(
    boxes: Sequence[Place], sizes_wh: Mapping[int, tuple[int, int]], image_wh: tuple[int, int]
) -> dict[int, Place]:
    """Place labels one after the other where they cover as little of the boxes as they can.

    Args:
        boxes: as they are drawn; they may stand out of the image.
        sizes_wh: of labels, by the number of their box; the first get the best places.
        image_wh: size of the image.
    Returns:
        By the number of the box: inside the image, apart from the others. A label for which there is no
        room is not among them.
    """
    places: dict[int, Place] = {}
    all_boxes = np.array(boxes, np.float32).reshape(-1, 4)
    for number, size_wh in sizes_wh.items():
        taken = np.array(list(places.values()), np.float32).reshape(-1, 4)
        place = _place(boxes[number], size_wh, image_wh, all_boxes, taken)
        if place is not None:
            places[number] = place
    return places


def _place(
    box: Place,
    size_wh: tuple[int, int],
    image_wh: tuple[int, int],
    boxes: NDArray[np.float32],
    taken: NDArray[np.float32],
) -> Place | None:
    """Return the best place beside a box; where none is good, the best of the whole image."""
    if size_wh[0] > image_wh[0] or size_wh[1] > image_wh[1]:
        return None
    near = _inside(_beside(box, size_wh), size_wh, image_wh)
    cost = _costs(near, box, boxes, taken)
    if cost.min() > FARTHEST_SCALE:
        near = np.vstack([near, _everywhere(size_wh, image_wh)])
        cost = _costs(near, box, boxes, taken)
    best = int(cost.argmin())
    return None if np.isinf(cost[best]) else Place(*(int(side) for side in near[best]))


def _beside(box: Place, size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Return the upper left corners of places that touch a box, the usual one first."""
    width, height = size_wh
    left, top, right, bottom = box
    corners = [(x, y) for x in (left, right - width) for y in (top - height, bottom)]
    corners += [(x, y) for x in (right, left - width) for y in (top, bottom - height)]
    return np.array([*corners, (left, top)], np.float32)


def _everywhere(size_wh: tuple[int, int], image_wh: tuple[int, int]) -> NDArray[np.float32]:
    """Return places that lie close together all over the image."""
    columns, rows = (
        np.unique(np.linspace(0, whole - size, 2 * (whole // size) + 1).astype(int))
        for whole, size in zip(image_wh, size_wh, strict=True)
    )
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    return np.column_stack([x, y, x + size_wh[0], y + size_wh[1]]).astype(np.float32)


def _inside(
    corners: NDArray[np.float32], size_wh: tuple[int, int], image_wh: tuple[int, int]
) -> NDArray[np.float32]:
    """Move places into the image."""
    size = np.array(size_wh)
    moved = np.clip(corners, 0, np.array(image_wh) - size)
    return np.hstack([moved, moved + size])


def _costs(
    places: NDArray[np.float32], box: Place, boxes: NDArray[np.float32], taken: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return how bad places are: what they cover of boxes, and how far off their own they lie.

    Returns:
        (N,); infinite where one lies on a label that has its place already.
    """
    size = places[0, 2:] - places[0, :2]
    covered = _common_area(places, boxes).sum(axis=1) / size.prod()
    off = np.maximum(0, np.maximum(np.array(box[:2]) - places[:, 2:], places[:, :2] - np.array(box[2:])))
    cost: NDArray[np.float32] = covered + FARTHEST_SCALE * np.hypot(*off.T) / size[1]
    cost[_common_area(places, taken).any(axis=1)] = np.inf
    return cost


def _common_area(places: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the area that each of N places has in common with each of M others, (N, M)."""
    low = np.maximum(places[:, None, :2], others[None, :, :2])
    high = np.minimum(places[:, None, 2:], others[None, :, 2:])
    area: NDArray[np.float32] = np.maximum(0, high - low).prod(axis=2)
    return area

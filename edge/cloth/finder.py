"""Find cloth in an image beside machine bed, black belt or bright end, by the grain of the image."""

from __future__ import annotations

import logging
from typing import Protocol

import cv2
import numpy as np

from edge.cameras.protocol import FramePosition
from edge.cloth.grain import Grain, measure_grain
from edge.cloth.mask import ClothMask, Mask
from edge.config.edge import EdgeConfig
from edge.core.image import Image

logger = logging.getLogger(__name__)

LEAST_GROWTH = 0.8
"""Grain of the halved image over that of the full one, from which on a cell is cloth. White noise has
0.5, the metal bed of the AITEX images 0.5 to 0.8, their cloth 1.0 to 2.7 (docs/benchmarks/cloth.md)."""

CERTAIN_GRAIN = 10.0
"""Grey levels of fine grain that are no noise: a sensor's 6 grey levels of noise give 9.6. Yarns as fine as
two pixels have it, and their grain does not grow."""

FAINT_GRAIN = 0.2
"""Grey levels added to the fine grain: below it an image is flat, and a ratio means nothing."""

DARKEST_GREY, BRIGHTEST_GREY = 10.0, 250.0
"""Beyond these a cell shows nothing that could be inspected, cloth or not: a black belt, a lamp."""

BLACK_FRACTION = 0.95
"""An image with so many cells darker than that is black: dust and worn places of a belt shine. Images of
a black belt have 0.990 to 0.999 (docs/benchmarks/cloth.md)."""

ISLAND_CELLS = 256
"""An island without cloth at one side of the image is a defect up to this size, 128 x 128 px; one with
cloth all round is one at any size."""

SPECK_CELLS = 32
"""Smaller pieces of cloth are dust on the bed."""

PROOF_FRACTION = 0.5
"""A finder that has seen this fraction of one image as cloth knows the article. Until then it is not
believed, but for a black image: cloth whose grain drowns in noise would otherwise pass as an empty
machine."""


class ClothFinder(Protocol):
    """Find cloth in images."""

    def find(self, image: Image) -> ClothMask:
        """Tell cloth from everything else.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8, of any size.
        """
        ...


class GrainFinder:
    """Find cloth by its grain; see `edge.cloth.grain`. Needs no training and keeps no state."""

    def find(self, image: Image) -> ClothMask:
        """Find cloth; see `ClothFinder.find`.

        Raises:
            ValueError: if the image is empty or has another shape or type.
        """
        cells = without_specks(without_islands(cloth_like(measure_grain(image))))
        return ClothMask(cells, (image.shape[0], image.shape[1]))


def is_black(image: Image) -> bool:
    """Tell whether an image is so dark, but for specks, that no cloth could be inspected in it.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8.
    Raises:
        ValueError: if the image is empty or has another shape or type.
    """
    return bool(np.mean(measure_grain(image).brightness < DARKEST_GREY) >= BLACK_FRACTION)


def cloth_mask(image: Image) -> Mask:
    """Say of each cell of 8 x 8 px of an image or tile whether it shows cloth.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8.
    Returns:
        (ceil(H / 8), ceil(W / 8)) bool.
    Raises:
        ValueError: if the image is empty or has another shape or type.
    """
    return GrainFinder().find(image).cells


def cloth_like(grain: Grain) -> Mask:
    """Judge each cell by itself and its neighbours.

    Returns:
        (h, w) bool, as `grain`.
    """
    fine, middle = (cv2.blur(plane, (3, 3)) for plane in (grain.fine, grain.middle))
    evidence = np.maximum(middle / (LEAST_GROWTH * (fine + FAINT_GRAIN)), fine / CERTAIN_GRAIN)
    evidence[(grain.brightness < DARKEST_GREY) | (grain.brightness > BRIGHTEST_GREY)] = 0
    # The median of 5 x 5 cells keeps edges, and what is thinner than two cells goes.
    per_cent = np.minimum(100 * evidence, 255).astype(np.uint8)
    return np.asarray(cv2.medianBlur(per_cent, 5) > 100, np.bool_)


def without_islands(cells: Mask) -> Mask:
    """Fill what is not cloth but lies in it: holes, stains and wrinkles are defects, not a machine bed.

    Args:
        cells: (h, w) bool; left as it is.
    """
    if cells.all():
        return cells
    height, width = cells.shape
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~cells).astype(np.uint8), connectivity=4)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    sides = sum(side.astype(int) for side in (left == 0, top == 0, right == width, bottom == height))
    area = stats[:, cv2.CC_STAT_AREA]
    filled = (sides == 0) | ((sides == 1) & (area <= ISLAND_CELLS)) | (area <= SPECK_CELLS // 2)
    filled[0] = False  # the label of the cloth itself
    return np.asarray(cells | filled[labels], np.bool_)


def without_specks(cells: Mask) -> Mask:
    """Take away pieces of cloth too small to be any.

    Args:
        cells: (h, w) bool; left as it is.
    """
    if cells.all():
        return cells
    least = min(SPECK_CELLS, cells.size // 2)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cells.astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= least
    kept[0] = False
    return np.asarray(kept[labels], np.bool_)


def cloth_of_single_image(image: Image) -> ClothMask | None:
    """Find the cloth of an image by itself; None where all of it is to be taken as cloth.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8.
    """
    mask = GrainFinder().find(image)
    return mask if mask.fraction >= PROOF_FRACTION or (not mask.fraction and is_black(image)) else None


class ClothWatch:
    """Look after the cloth of one run.

    Args:
        finder: finds cloth in images.
    """

    def __init__(self, finder: ClothFinder) -> None:
        self._finder = finder
        self._proven = False

    def look(self, image: Image, position: FramePosition | None) -> ClothMask | None:
        """Find the cloth of an image.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8.
            position: of the frame. A camera that knows both selvedges knows where the cloth is.
        Returns:
            The mask; None where the whole image is to be taken as cloth.
        """
        if position is not None and _knows_selvedges(position):
            return None
        mask = self._finder.find(image)
        if not self._proven and mask.fraction >= PROOF_FRACTION:
            self._proven = True
            logger.info("the cloth is recognised: what lies off it is left out from here on")
        return mask if self._proven or (not mask.fraction and is_black(image)) else None


def _knows_selvedges(position: FramePosition) -> bool:
    return position.left_selvedge_px is not None and position.right_selvedge_px is not None


def cloth_watch(config: EdgeConfig) -> ClothWatch | None:
    """Return what says where the cloth is; None if every image is to be taken as cloth throughout."""
    return ClothWatch(GrainFinder()) if config.cloth == "auto" else None

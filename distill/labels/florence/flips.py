"""Mirror images and their labels together, in memory, for every example."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from distill.labels.formats.flip import Direction, flipped_region
from distill.labels.sets.annotations import AnnotatedImage
from edge.core.image import Image


class Flips(NamedTuple):
    """Say along which axes an image is mirrored."""

    left_right: bool = False
    up_down: bool = False

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The same as names."""
        horizontal: tuple[Direction, ...] = ("horizontal",) if self.left_right else ()
        return (*horizontal, "vertical") if self.up_down else horizontal


def flipped_image(image: Image, flips: Flips) -> Image:
    """Mirror an image, (H, W) or (H, W, 3)."""
    rows = slice(None, None, -1 if flips.up_down else 1)
    columns = slice(None, None, -1 if flips.left_right else 1)
    return np.ascontiguousarray(image[rows, columns])


def flipped_labels(image: AnnotatedImage, flips: Flips) -> AnnotatedImage:
    """Mirror the regions of an image."""
    regions = image.regions
    for direction in flips.directions:
        regions = tuple(flipped_region(region, image.size_hw_px, direction) for region in regions)
    return replace(image, regions=regions)

"""Annotate wide strips tile by tile, and merge the regions of all tiles.

Large models scale every image to one size, so a strip looked at whole loses its thin yarns. The tiles and
their merging are those of the camera box (`edge.core.geometry`, `edge.inference.decode`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from distill.labels.annotators.as_detections import as_detections
from distill.labels.sets.annotations import Region
from edge.core.detections import Detections
from edge.core.geometry import View, iou_matrix, plan_tiles
from edge.core.image import Image
from edge.inference.decode import merge_views, suppress_duplicates

SAME_BOX_IOU = 0.999
"""Boxes that overlap this much are one box, once in float32 and once in float64."""


class Tiling(Protocol):
    """Say how images are cut and what is seen twice: part of an annotator's settings.

    Attributes:
        tile_px: side of a tile; None for no tiles.
        tile_overlap_px: least overlap of neighbouring tiles.
        iou_threshold: regions of one label that overlap more are one.
    """

    @property
    def tile_px(self) -> int | None: ...
    @property
    def tile_overlap_px(self) -> int: ...
    @property
    def iou_threshold(self) -> float: ...


def tiles_of(size_hw_px: tuple[int, int], tile_px: int | None, overlap_px: int) -> tuple[View, ...]:
    """Plan how an image is looked at: one view of all of it, or tiles.

    Args:
        size_hw_px: height and width, each > 0.
        tile_px: side of a tile; None for no tiles.
        overlap_px: least overlap of neighbouring tiles.
    """
    if tile_px is None:
        return (View(0, 0, size_hw_px[1], size_hw_px[0]),)
    return plan_tiles(size_hw_px, (tile_px, tile_px), overlap_px)


def look_by_tiles(
    images: Sequence[Image],
    tiling: Tiling,
    look: Callable[[Sequence[Image]], Sequence[Sequence[Region]]],
) -> list[tuple[Region, ...]]:
    """Cut images to tiles, look at all of them at once, and make one set of regions for each image.

    Args:
        images: (H, W) grey or (H, W, 3) BGR, uint8, of any sizes.
        look: gives the regions of each of the views it gets, in their pixels.
    Returns:
        Per image its regions by falling score, in its pixels.
    """
    plans = [
        tiles_of((image.shape[0], image.shape[1]), tiling.tile_px, tiling.tile_overlap_px)
        for image in images
    ]
    cuts = [
        image[view.top_px : view.bottom_px, view.left_px : view.right_px]
        for image, plan in zip(images, plans, strict=True)
        for view in plan
    ]
    found = iter(look(cuts))
    return [merge_regions([next(found) for _ in plan], plan, tiling.iou_threshold) for plan in plans]


def without_duplicates(regions: Sequence[Region], iou_threshold: float) -> tuple[Region, ...]:
    """Keep of regions of one label that overlap more than this the best; by falling score."""
    labels = _labels(regions)
    return _regions(
        suppress_duplicates(as_detections(regions, labels.index), iou_threshold), labels, regions
    )


def merge_regions(
    parts: Sequence[Sequence[Region]], views: Sequence[View], iou_threshold: float
) -> tuple[Region, ...]:
    """Bring regions of views to the image, and make one region of what two views saw of one thing.

    Args:
        parts: per view, in its pixels.
        views: in the same order, each at the image's own scale.
        iou_threshold: see `without_duplicates`.
    Returns:
        Regions by falling score. A merged one has the names of the best of its parts, and no polygon.
    """
    placed = [[_moved(region, view) for region in part] for part, view in zip(parts, views, strict=True)]
    everything = [region for part in placed for region in part]
    labels = _labels(everything)
    merged = merge_views([as_detections(part, labels.index) for part in placed], views)
    return _regions(suppress_duplicates(merged, iou_threshold), labels, everything)


def _moved(region: Region, view: View) -> Region:
    """Bring a region from the pixels of a view to those of the image."""
    x1, y1, x2, y2 = region.box_xyxy_px
    dx, dy = view.left_px, view.top_px
    polygon = region.polygon_xy_px
    return replace(
        region,
        box_xyxy_px=(x1 + dx, y1 + dy, x2 + dx, y2 + dy),
        polygon_xy_px=tuple((x + dx, y + dy) for x, y in polygon) if polygon else None,
    )


def _labels(regions: Sequence[Region]) -> list[str]:
    return sorted({region.label for region in regions})


def _regions(found: Detections, labels: Sequence[str], sources: Sequence[Region]) -> tuple[Region, ...]:
    """Turn detections back into the regions they came from; a merged one is named as its best part."""
    ranked = sorted(sources, key=lambda region: -(region.score or 0.0))
    regions = []
    for box, class_id in zip(found.boxes_xyxy_px, found.class_ids, strict=True):
        same = [region for region in ranked if region.label == labels[int(class_id)]]
        overlap = iou_matrix(box[None], np.array([r.box_xyxy_px for r in same], np.float32))[0]
        best = same[int(overlap.argmax())]
        if overlap.max() < SAME_BOX_IOU:
            touching = [region for region, iou in zip(same, overlap, strict=True) if iou > 0]
            x1, y1, x2, y2 = box.tolist()
            best = replace(touching[0], box_xyxy_px=(x1, y1, x2, y2), polygon_xy_px=None)
        regions.append(best)
    return tuple(regions)

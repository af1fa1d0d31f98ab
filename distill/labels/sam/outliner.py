"""Outline boxes: a box whose mask cannot be believed stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from distill.core.precision import choose_device
from distill.labels.sam.drawing import features_of, masks_of
from distill.labels.sam.loading import Sam, load_sam
from distill.labels.sam.masks import Mask, main_piece, outline_of
from distill.labels.sam.settings import OutlineSettings
from distill.labels.sam.windows import window_of
from distill.labels.sets.annotations import BoxXyxy, Region, box_around
from edge.core.geometry import View
from edge.core.image import Image
from edge.core.settings import resolved
from edge.simulator.ground_truth import tight_box


def open_outliner(
    model: str,
    settings: Mapping[str, Any] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> Outliner:
    """Load a SAM and prepare it to draw.

    Args:
        model: hub id or folder.
        settings: of `OutlineSettings`, by name.
        device: where to compute.
    Raises:
        CheckpointError: if the model cannot be loaded.
        ConfigError: if a setting is unknown or not permitted, or there is no such device.
    """
    checked = resolved(OutlineSettings, {"the settings of the outlines": settings or {}})
    return Outliner(load_sam(model, device=choose_device(device)), checked)


class Outliner:
    """Draw outlines with a SAM."""

    def __init__(self, sam: Sam, settings: OutlineSettings | None = None) -> None:
        self._sam = sam
        self._settings = settings or OutlineSettings()

    def outline(self, image: Image, regions: Sequence[Region]) -> tuple[Region, ...]:
        """Give regions of one image their outlines and tight boxes.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8.
            regions: those that have an outline, and those whose mask is empty or of quite another size than
                the box, come back as they are.
        Returns:
            As many, in the same order; label, score and all else are kept.
        """
        size = (image.shape[0], image.shape[1])
        done = list(regions)
        for view, indices in self._by_window(regions, size).items():
            cut = image[view.top_px : view.bottom_px, view.left_px : view.right_px]
            boxes = [_moved(_within(regions[i].box_xyxy_px, size), view) for i in indices]
            masks, qualities = masks_of(self._sam, features_of(self._sam, cut), boxes, self._settings.batch)
            for index, box, mask, quality in zip(
                indices, boxes, masks.numpy(), qualities.tolist(), strict=True
            ):
                if quality >= self._settings.least_quality:
                    done[index] = self._outlined(regions[index], box, mask.astype(np.uint8), view)
        return tuple(done)

    def _by_window(self, regions: Sequence[Region], size: tuple[int, int]) -> dict[View, list[int]]:
        """Put regions together that one look at the image serves."""
        windows: dict[View, list[int]] = {}
        for index, region in enumerate(regions):
            x1, y1, x2, y2 = _within(region.box_xyxy_px, size)
            if region.polygon_xy_px is None and x2 > x1 and y2 > y1:
                view = window_of((x1, y1, x2, y2), size, self._settings.window_px)
                windows.setdefault(view, []).append(index)
        return windows

    def _outlined(self, region: Region, box: BoxXyxy, mask: Mask, view: View) -> Region:
        piece = main_piece(mask, box)
        outline = outline_of(piece, self._settings.corner_tolerance_px)
        if outline is None or not believable(piece, box, self._settings):
            return region
        placed = tuple((x + view.left_px, y + view.top_px) for x, y in outline)
        return replace(region, polygon_xy_px=placed, box_xyxy_px=box_around(placed))


def believable(mask: Mask, box_xyxy_px: BoxXyxy, settings: OutlineSettings) -> bool:
    """Tell whether a mask is about as large as the box it was asked for.

    Args:
        mask: of a window.
        box_xyxy_px: of the prompt, in the window.
        settings: say how large it may be.
    """
    drawn = tight_box(mask)
    if drawn is None:
        return False
    width, height = box_xyxy_px[2] - box_xyxy_px[0], box_xyxy_px[3] - box_xyxy_px[1]
    drawn_width, drawn_height = drawn[2] - drawn[0], drawn[3] - drawn[1]
    return (
        int(mask.sum()) >= settings.least_area_share * width * height
        and drawn_width >= settings.least_side_share * width
        and drawn_height >= settings.least_side_share * height
        and drawn_width * drawn_height <= settings.most_area_share * width * height
    )


def _within(box: BoxXyxy, size_hw_px: tuple[int, int]) -> BoxXyxy:
    """Clip a box to the image."""
    height, width = size_hw_px
    x1, y1, x2, y2 = box
    return (
        min(max(x1, 0.0), width), min(max(y1, 0.0), height),
        min(max(x2, 0.0), width), min(max(y2, 0.0), height),
    )  # fmt: skip


def _moved(box: BoxXyxy, view: View) -> BoxXyxy:
    x1, y1, x2, y2 = box
    return x1 - view.left_px, y1 - view.top_px, x2 - view.left_px, y2 - view.top_px

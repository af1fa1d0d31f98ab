"""Compute the views of a frame, and map boxes from a view back to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from edge.core.contract import Letterbox, ModelContract
from edge.core.errors import ConfigError

GREATEST_RESCALING = 4.0
"""A frame is enlarged or shrunk at most so much to reach the model's scale. Beyond it a network sees little
of what it learnt, and a strip becomes thousands of tiles: 256 x 2048 px made 32,768 at 50 times."""

Boxes = NDArray[np.float32]
"""(N, 4) float32: x1, y1, x2, y2 with x2 >= x1 and y2 >= y1."""


@dataclass(frozen=True, slots=True)
class View:
    """Map a rectangle of the frame onto the network's input.

    An input pixel lies at ``(frame_px - origin) * scale + pad``. Input that the rectangle does not
    fill is padding at the right and bottom, and with a letterbox on all sides.

    Attributes:
        left_px, top_px, right_px, bottom_px: the rectangle, frame pixels, right and bottom exclusive.
        scale: input pixels per frame pixel.
        pad_left_px, pad_top_px: where the rectangle begins in the input.
    """

    left_px: int
    top_px: int
    right_px: int
    bottom_px: int
    scale: float = 1.0
    pad_left_px: int = 0
    pad_top_px: int = 0

    def scaled_size_hw_px(self) -> tuple[int, int]:
        """Return height and width of the rectangle after scaling, without padding."""
        return (
            max(1, round((self.bottom_px - self.top_px) * self.scale)),
            max(1, round((self.right_px - self.left_px) * self.scale)),
        )


def tile_starts(length_px: int, tile_px: int, overlap_px: int) -> list[int]:
    """Spread the fewest tiles evenly over a length so that neighbours share at least `overlap_px`.

    Args:
        length_px: > 0.
        tile_px: > overlap_px.
        overlap_px: >= 0.
    Returns:
        First pixel of each tile, ascending. The last tile ends at `length_px`; a length of at most
        one tile gives [0].
    Raises:
        ValueError: if a size does not fit the above.
    """
    if length_px < 1 or not 0 <= overlap_px < tile_px:
        raise ValueError(f"no tiles of {tile_px} px, overlap {overlap_px} px, over {length_px} px")
    if length_px <= tile_px:
        return [0]
    count = ceil((length_px - overlap_px) / (tile_px - overlap_px))
    last = length_px - tile_px
    return [round(index * last / (count - 1)) for index in range(count)]


def plan_tiles(
    frame_hw_px: tuple[int, int],
    input_hw_px: tuple[int, int],
    overlap_px: int,
    scale: float = 1.0,
) -> tuple[View, ...]:
    """Cover a frame with tiles of the network's input size, row by row.

    Args:
        frame_hw_px: height and width of the frame.
        input_hw_px: height and width of the network's input.
        overlap_px: least overlap of neighbours, in input pixels.
        scale: input pixels per frame pixel: the frame's mm per px over the model's.
    Returns:
        Views in row order. Every pixel of the frame lies in at least one.
    Raises:
        ValueError: for an empty frame or a scale that is not positive.
    """
    if min(frame_hw_px) < 1 or not scale > 0:
        raise ValueError(f"cannot tile a frame of {frame_hw_px} px at scale {scale}")
    tile_h, tile_w = (max(1, int(side / scale)) for side in input_hw_px)
    overlap = min(round(overlap_px / scale), tile_h - 1, tile_w - 1)
    frame_h, frame_w = frame_hw_px
    return tuple(
        View(left, top, min(left + tile_w, frame_w), min(top + tile_h, frame_h), scale)
        for top in tile_starts(frame_h, tile_h, overlap)
        for left in tile_starts(frame_w, tile_w, overlap)
    )


def letterbox_view(frame_hw_px: tuple[int, int], input_hw_px: tuple[int, int]) -> View:
    """Fit a whole frame into the input, centred, keeping its aspect.

    Raises:
        ValueError: for an empty frame.
    """
    frame_h, frame_w = frame_hw_px
    if min(frame_hw_px) < 1:
        raise ValueError(f"cannot letterbox a frame of {frame_hw_px} px")
    scale = min(input_hw_px[0] / frame_h, input_hw_px[1] / frame_w)
    view = View(0, 0, frame_w, frame_h, scale)
    height, width = view.scaled_size_hw_px()
    return View(
        0,
        0,
        frame_w,
        frame_h,
        scale,
        pad_left_px=(input_hw_px[1] - width) // 2,
        pad_top_px=(input_hw_px[0] - height) // 2,
    )


def plan_views(
    frame_hw_px: tuple[int, int], contract: ModelContract, frame_mm_per_px: float | None = None
) -> tuple[View, ...]:
    """Plan how a model looks at a frame of this size: the only entry the pipeline needs.

    Args:
        frame_hw_px: height and width of the frame.
        contract: names the geometry, the input size and the scale the model was trained for.
        frame_mm_per_px: scale of the frame; None if not known, then frame pixels are taken as they are.
    Raises:
        ValueError: for an empty frame.
        ConfigError: if the scales of frame and model are too far apart for tiles.
    """
    if isinstance(contract.geometry, Letterbox):
        return (letterbox_view(frame_hw_px, contract.input_size_hw_px),)
    scale = view_scale(contract, frame_mm_per_px)
    return plan_tiles(frame_hw_px, contract.input_size_hw_px, contract.geometry.overlap_px, scale)


def view_scale(contract: ModelContract, frame_mm_per_px: float | None) -> float:
    """Return the input pixels per frame pixel of tiles; 1 where one of the scales is not known.

    Raises:
        ConfigError: if frame and model are further apart than `GREATEST_RESCALING`.
    """
    if not frame_mm_per_px or not contract.mm_per_px:
        return 1.0
    scale = frame_mm_per_px / contract.mm_per_px
    if not 1 / GREATEST_RESCALING <= scale <= GREATEST_RESCALING:
        low, high = contract.mm_per_px / GREATEST_RESCALING, contract.mm_per_px * GREATEST_RESCALING
        raise ConfigError(
            f"The image has {frame_mm_per_px:g} mm per pixel and the model was trained for "
            f"{contract.mm_per_px:g}: too far apart.",
            f"Correct mm_per_px (--mm-per-px): this model takes {low:g} to {high:g}; "
            "for other optics train one at their scale.",
        )
    return scale


def frame_from_input(boxes_input_xyxy_px: Boxes, view: View) -> Boxes:
    """Bring boxes from input pixels to frame pixels, clipped to what the view shows.

    Args:
        boxes_input_xyxy_px: (N, 4), pixels of the network's input.
        view: where the input came from.
    Returns:
        (N, 4) float32, frame pixels.
    """
    boxes = np.asarray(boxes_input_xyxy_px, np.float32).reshape(-1, 4)
    pad = np.array([view.pad_left_px, view.pad_top_px] * 2, np.float32)
    low = np.array([view.left_px, view.top_px] * 2, np.float32)
    high = np.array([view.right_px, view.bottom_px] * 2, np.float32)
    return np.asarray(np.clip((boxes - pad) / np.float32(view.scale) + low, low, high), np.float32)


def input_from_frame(boxes_xyxy_px: Boxes, view: View) -> Boxes:
    """Bring boxes from frame pixels to input pixels, clipped to what the view shows.

    Args:
        boxes_xyxy_px: (N, 4), frame pixels.
    Returns:
        (N, 4) float32, input pixels; a box outside the view has no area.
    """
    boxes = np.asarray(boxes_xyxy_px, np.float32).reshape(-1, 4)
    pad = np.array([view.pad_left_px, view.pad_top_px] * 2, np.float32)
    low = np.array([view.left_px, view.top_px] * 2, np.float32)
    high = np.array([view.right_px, view.bottom_px] * 2, np.float32)
    shifted = (np.clip(boxes, low, high) - low) * np.float32(view.scale) + pad
    return np.asarray(shifted, np.float32)


def iou_matrix(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float32]:
    """Compute pairwise intersection over union.

    Args:
        a_xyxy: (N, 4), x2 >= x1 and y2 >= y1.
        b_xyxy: (M, 4), same convention and frame.
    Returns:
        (N, M) float32 in [0, 1]; 0 where the union is empty.
    Raises:
        ValueError: if the last axis is not 4.
    """
    if a_xyxy.shape[-1:] != (4,) or b_xyxy.shape[-1:] != (4,):
        raise ValueError("boxes must be (N, 4)")
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    intersection = np.prod(np.clip(high - low, 0, None), axis=2)
    union = box_areas(a_xyxy)[:, None] + box_areas(b_xyxy)[None] - intersection
    iou = np.zeros_like(intersection, np.float32)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def box_areas(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """Return the area of each box, (N,)."""
    return np.asarray(np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1), np.float32)

"""Convert frames to network input. Training, calibration, parity and the camera all use this code.

Order: cut, scale, pad, enhance, normalise. Enhancement comes after scaling: the network then sees the
same local contrast whatever the camera's resolution, and CLAHE of one 640 px input costs a fraction of
CLAHE of the whole frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.contract import Clahe, Enhancement, GlobalEqualisation, ModelContract, NoEnhancement
from edge.core.geometry import View
from edge.core.image import Image

Enhance = Callable[[Image], Image]


def grey_enhancer(enhancement: Enhancement) -> Enhance:
    """Build the operator that acts on one grey plane.

    Returns:
        A function from (H, W) uint8 to a new (H, W) uint8. Not shared between threads: OpenCV's CLAHE
        object keeps scratch memory.
    """
    if isinstance(enhancement, Clahe):
        rows, columns = enhancement.grid_hw
        clahe = cv2.createCLAHE(enhancement.clip_limit, (columns, rows))
        return lambda grey: np.asarray(clahe.apply(grey), np.uint8)
    if isinstance(enhancement, GlobalEqualisation):
        return lambda grey: np.asarray(cv2.equalizeHist(grey), np.uint8)
    return np.copy


def enhance_luma(image_bgr: Image, enhance_grey: Enhance) -> Image:
    """Apply a grey operator to the luma of a colour image and leave its hue alone.

    Args:
        image_bgr: (H, W, 3) uint8, BGR.
        enhance_grey: from (H, W) to (H, W) uint8.
    Returns:
        (H, W, 3) uint8, BGR. Luma and chroma are those of YCrCb (ITU-R BT.601).
    """
    luma_chroma = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YCrCb), np.uint8)
    luma_chroma[..., 0] = enhance_grey(np.ascontiguousarray(luma_chroma[..., 0]))
    return np.asarray(cv2.cvtColor(luma_chroma, cv2.COLOR_YCrCb2BGR), np.uint8)


def resize(image: Image, size_hw_px: tuple[int, int]) -> Image:
    """Scale an image without aliasing: a fine weave turns into moire when it is shrunk carelessly.

    Halving by area is exact and fast in OpenCV, so a strong reduction is halved first; area averaging at
    any other factor took 4.2 ms for 2048x1080 to 640x338 on one core, halving and then interpolating 0.5.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        size_hw_px: of the result.
    Returns:
        (h, w) or (h, w, 3) uint8.
    """
    height, width = size_hw_px
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        if image.shape[0] % 2 or image.shape[1] % 2:
            break
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[:2] == (height, width):
        return image
    shrinks_much = image.shape[0] >= 2 * height or image.shape[1] >= 2 * width
    method = cv2.INTER_AREA if shrinks_much else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def cut_view(image: Image, view: View, input_hw_px: tuple[int, int]) -> Image:
    """Cut a view out of a frame, scale it and pad it by reflection to the network's input.

    Reflection continues the weave: an edge of constant grey would be a contrast that CLAHE amplifies
    and a network reports.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        view: the rectangle and its scale.
        input_hw_px: size of the result.
    Returns:
        (h, w) or (h, w, 3) uint8; it may share memory with `image` when nothing had to be done.
    """
    cut = image[view.top_px : view.bottom_px, view.left_px : view.right_px]
    height, width = view.scaled_size_hw_px()
    if cut.shape[:2] != (height, width):
        cut = resize(cut, (height, width))
    missing_h, missing_w = input_hw_px[0] - height, input_hw_px[1] - width
    if missing_h <= 0 and missing_w <= 0:
        return cut[: input_hw_px[0], : input_hw_px[1]]
    top, left = view.pad_top_px, view.pad_left_px
    below, right = max(0, missing_h - top), max(0, missing_w - left)
    padded = cv2.copyMakeBorder(cut, top, below, left, right, cv2.BORDER_REFLECT_101)
    return np.asarray(padded, np.uint8)


class Preprocessor:
    """Turn views of frames into batches for one model. One instance per thread."""

    def __init__(self, contract: ModelContract) -> None:
        self._input_hw_px = contract.input_size_hw_px
        self._colour_order = contract.colour_order
        self._channels = contract.channels
        self._enhance_grey = grey_enhancer(contract.enhancement)
        self._enhances = not isinstance(contract.enhancement, NoEnhancement)
        norm = contract.normalisation
        self._gain = norm.scale / norm.std
        self._offset = -norm.mean / norm.std
        self._memory: NDArray[np.float32] = np.empty((0, contract.channels, *self._input_hw_px), np.float32)

    def image(self, image: Image, view: View) -> Image:
        """Give what the network sees, before normalisation.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8.
            view: where to look.
        Returns:
            (h, w) uint8 for a grey contract, else (h, w) for a grey frame and (h, w, 3) BGR.
        """
        cut = cut_view(image, view, self._input_hw_px)
        if cut.ndim == 3 and self._channels == 1:
            cut = np.asarray(cv2.cvtColor(cut, cv2.COLOR_BGR2GRAY), np.uint8)
        if not self._enhances:
            return cut
        return self._enhance_grey(cut) if cut.ndim == 2 else enhance_luma(cut, self._enhance_grey)

    def batch(self, image: Image, views: Sequence[View]) -> NDArray[np.float32]:
        """Prepare views of one frame for the network.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8.
            views: B of them.
        Returns:
            (B, C, h, w) float32, C-contiguous. The memory is reused by the next call.
        """
        if len(self._memory) < len(views):
            self._memory = np.empty((len(views), *self._memory.shape[1:]), np.float32)
        batch = self._memory[: len(views)]  # batches of a frame differ in size, and a fresh page costs time
        for planes, view in zip(batch, views, strict=True):
            self._fill(planes, self.image(image, view))
        return batch

    def _fill(self, planes: NDArray[np.float32], image: Image) -> None:
        if image.ndim == 2:
            self._normalise(image, planes[0])
            planes[1:] = planes[:1]
            return
        order = (0, 1, 2) if self._colour_order == "bgr" else (2, 1, 0)
        for plane, channel in zip(planes, order, strict=True):
            self._normalise(image[..., channel], plane)

    def _normalise(self, grey: Image, plane: NDArray[np.float32]) -> None:
        np.multiply(grey, np.float32(self._gain), out=plane)
        if self._offset:
            plane += np.float32(self._offset)

"""Compute early features of images with a small network that ships with the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from edge.backends.onnx_session import ORT_ERRORS, session_options
from edge.core.errors import BackendError, ModelError
from edge.core.files import file_digest
from edge.core.image import Image
from edge.reference.blas import use_one_blas_thread
from edge.reference.contrast import Contrast, Floats, Mask, local_contrast

TRUNK_PATH = Path(__file__).with_name("trunk.onnx")
"""Made by `python -m export.trunk`."""

TRUNK_DIGEST = "a2a91e69bc0547c1eeec7f2988b9fe43c3dda4537e55d824992548c602360881"
"""sha256 of that file."""

CONTRAST_PORT = "contrast"
FEATURES_PORTS = ("early", "late")

STRIDE_PX = 4

AROUND_PX = 4
"""The image is continued by reflection by so much: what a feature that is judged sees beyond its border."""

PART_PX = 256
"""Width that the network looks at in one go: what it works on then stays in a processor's cache."""

HALO_PX = 12
"""More of the image on both sides of a part: what a feature sees to each side of its cell is 9 px."""

EDGE_PX = 8
"""Nearer to the image's border, or to what is blank, nothing is judged: features there see both."""

ABOVE = AROUND_PX // STRIDE_PX
"""Rows of cells above the image, and columns beside it."""

SELVEDGE_PX = 40
"""Nearer to the edge of the cloth nothing is judged: contrast and features there see where it ends. At
0.1 false alarms 0.563 of the defects planted in real clean strips were found with 24 px, 0.581 with 40."""

LEAST_SIDE_PX = 32
"""Of an image."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Hold the features of an image.

    Attributes:
        vectors: (C, h, w) float32, one vector for each cell of 4 x 4 px.
        is_judged: (h, w) bool, cells that show cloth and lie far enough from its edge.
        brightness: mean grey of the cloth.
        contrast: (4 h, 4 w) float32, the image as the network saw it.
    """

    vectors: Floats
    is_judged: Mask
    brightness: float
    contrast: Floats


class Trunk:
    """Run the trunk.

    Args:
        threads: for one image; None for as many as there are cores.
    Attributes:
        stride_px: side of the cell that one vector describes.
        channels: of a vector.
        digest: of the network, for what was taught with it.
    Raises:
        ModelError: if the file of the network is missing or damaged.
    """

    stride_px = STRIDE_PX

    def __init__(self, threads: int | None = 1) -> None:
        use_one_blas_thread()
        self.digest = _checked_digest(TRUNK_PATH)
        self._session: Any = ort.InferenceSession(
            str(TRUNK_PATH), session_options(threads), providers=["CPUExecutionProvider"]
        )
        self.channels = sum(int(port.shape[1]) for port in self._session.get_outputs())

    def features(self, image: Image, is_cloth: Mask | None = None) -> Features:
        """Compute the features of an image.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8.
            is_cloth: (H, W) bool; None for all.
        Returns:
            Features of ceil(H / 4) x ceil(W / 4) cells.
        Raises:
            ValueError: if the image is smaller than 32 px, or the mask is not of its size.
            BackendError: if the runtime fails.
        """
        _check(image, is_cloth)
        cells_hw = (-(-image.shape[0] // STRIDE_PX), -(-image.shape[1] // STRIDE_PX))
        contrast = local_contrast(_continued(_grey(image)), _continued_mask(is_cloth))
        is_judged = _inner(_seen_cells(contrast, cells_hw), (EDGE_PX,) * 4, beyond=0)
        if is_cloth is not None and not is_cloth.all():
            margins_px = (EDGE_PX, EDGE_PX, SELVEDGE_PX, SELVEDGE_PX)
            is_judged &= _inner(is_cloth[::STRIDE_PX, ::STRIDE_PX], margins_px, beyond=1)
        vectors, seen = self._vectors(contrast, cells_hw)
        return Features(vectors, is_judged, contrast.brightness, seen)

    def _vectors(self, contrast: Contrast, cells_hw: tuple[int, int]) -> tuple[Floats, Floats]:
        """Run the network over a wide image part by part: (C, h, w), and what it saw, (4 h, 4 w)."""
        height, width = cells_hw
        vectors = np.empty((self.channels, height, width), np.float32)
        seen = np.empty((height * STRIDE_PX, width * STRIDE_PX), np.float32)
        for first in range(0, width, PART_PX // STRIDE_PX):
            last = min(width, first + PART_PX // STRIDE_PX)
            first_px = max(0, first * STRIDE_PX + AROUND_PX - HALO_PX)
            last_px = min(contrast.grey.shape[1], last * STRIDE_PX + AROUND_PX + HALO_PX)
            left = first + (AROUND_PX - first_px) // STRIDE_PX
            inner = np.s_[0, :, ABOVE : ABOVE + height, left : left + last - first]
            part = contrast.values(first_px, last_px)
            given = [one[inner] for one in self._run(part[None, None])]
            np.concatenate(given, out=vectors[:, :, first:last])
            start_px = first * STRIDE_PX + AROUND_PX - first_px
            columns = slice(start_px, start_px + (last - first) * STRIDE_PX)
            seen[:, first * STRIDE_PX : last * STRIDE_PX] = part[AROUND_PX : AROUND_PX + len(seen), columns]
        return vectors, seen

    def _run(self, contrast_nchw: Floats) -> list[Floats]:
        """Return the features of an image, (1, C, H / 4, W / 4) of each block."""
        try:
            return list(self._session.run(FEATURES_PORTS, {CONTRAST_PORT: contrast_nchw}))
        except ORT_ERRORS as error:
            raise BackendError(f"The reference model failed: {error}.", "Run edge-doctor.") from error


def _checked_digest(path: Path) -> str:
    """Return the digest of the network.

    Raises:
        ModelError: if it is not the one that was shipped.
    """
    digest = file_digest(path) if path.is_file() else "missing"
    if digest != TRUNK_DIGEST:
        raise ModelError(
            f"{path} is {'missing' if digest == 'missing' else 'damaged'}.", "Install loomsight again."
        )
    return digest


def _check(image: Image, is_cloth: Mask | None) -> None:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or min(image.shape[:2]) < LEAST_SIDE_PX:
        raise ValueError(f"an image of uint8 and at least {LEAST_SIDE_PX} px is needed, not {image.shape}")
    if is_cloth is not None and is_cloth.shape != image.shape[:2]:
        raise ValueError(f"a mask of {is_cloth.shape} does not fit an image of {image.shape}")


def _grey(image: Image) -> Image:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _continued(plane: Image) -> Image:
    """Continue an image by reflection to sides that are multiples of 4."""
    down, right = ((-side) % 4 for side in plane.shape)
    return np.asarray(
        cv2.copyMakeBorder(
            plane, AROUND_PX, AROUND_PX + down, AROUND_PX, AROUND_PX + right, cv2.BORDER_REFLECT_101
        ),
        np.uint8,
    )


def _continued_mask(is_cloth: Mask | None) -> Mask | None:
    if is_cloth is None or is_cloth.all():
        return None
    return np.asarray(_continued(is_cloth.astype(np.uint8)) > 0, np.bool_)


def _seen_cells(contrast: Contrast, cells_hw: tuple[int, int]) -> Mask:
    if contrast.is_seen is None:
        return np.ones(cells_hw, np.bool_)
    cells = contrast.is_seen[::STRIDE_PX, ::STRIDE_PX]
    return cells[ABOVE : ABOVE + cells_hw[0], ABOVE : ABOVE + cells_hw[1]]


def _inner(is_inside: Mask, margins_px: Sequence[int], *, beyond: int) -> Mask:
    """Leave out what is near to an edge.

    Args:
        is_inside: (h, w), by cells.
        margins_px: from an edge above, below, left and right.
        beyond: 1 if what lies beyond the image counts as inside, 0 if not.
    """
    top, bottom, left, right = (margin // STRIDE_PX for margin in margins_px)
    padded = cv2.copyMakeBorder(
        is_inside.astype(np.uint8), top, bottom, left, right, cv2.BORDER_CONSTANT, value=[float(beyond)]
    )
    around = np.ones((top + bottom + 1, left + right + 1), np.uint8)
    inner = cv2.erode(padded, around, anchor=(left, top), borderType=cv2.BORDER_REPLICATE)
    height, width = is_inside.shape
    return np.asarray(inner[top : top + height, left : left + width] > 0, np.bool_)


def sample_of(vectors: Floats, has_value: Mask, most: int) -> Floats:
    """Return an even sample of the vectors that count.

    Args:
        vectors: (C, h, w).
        has_value: (h, w), which of them count.
        most: about so many at most.
    Returns:
        (C, n).
    """
    at = np.flatnonzero(has_value)
    step = max(1, len(at) // most)
    return np.take(vectors.reshape(len(vectors), -1), at[:: step | 1], axis=1)

"""Compute early features of images with a small network that ships with the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.backends.onnx_session import ORT_ERRORS, session_options
from edge.digest import file_digest
from edge.errors import BackendError, ModelError
from edge.image import Image
from edge.reference.contrast import Floats, Mask, local_contrast

TRUNK_PATH = Path(__file__).with_name("trunk.onnx")
"""Made by `python -m export.trunk`."""

TRUNK_DIGEST = "cb88a94ef63a3912ceea621ed772fbed8d1195b6d6d3fd998414dcb05b0be393"
"""sha256 of that file."""

CONTRAST_PORT, FEATURES_PORT = "contrast", "features"

STRIDE_PX = 4

AROUND_PX = 16
"""The image is continued by reflection by so much: wider than what a feature sees to each side."""

PART_PX = 512
"""Width that the network looks at in one go: what it works on then stays in a processor's cache."""

EDGE_PX = 8
"""Nearer to the image's border, or to what is blank, nothing is judged: features there see both."""

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
    """

    vectors: Floats
    is_judged: Mask
    brightness: float


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
        self.digest = _checked_digest(TRUNK_PATH)
        self._session: Any = ort.InferenceSession(
            str(TRUNK_PATH), session_options(threads), providers=["CPUExecutionProvider"]
        )
        self.channels = int(self._session.get_outputs()[0].shape[1])

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
        height, width = image.shape[:2]
        cells_hw = (-(-height // STRIDE_PX), -(-width // STRIDE_PX))
        contrast = local_contrast(_continued(_grey(image)), _continued_mask(is_cloth))
        vectors = self._vectors(contrast.values)
        first = AROUND_PX // STRIDE_PX
        inside = np.s_[first : first + cells_hw[0], first : first + cells_hw[1]]
        is_judged = _inner(contrast.is_seen[::STRIDE_PX, ::STRIDE_PX][inside], (EDGE_PX,) * 4, beyond=0)
        if is_cloth is not None and not is_cloth.all():
            margins_px = (EDGE_PX, EDGE_PX, SELVEDGE_PX, SELVEDGE_PX)
            is_judged &= _inner(is_cloth[::STRIDE_PX, ::STRIDE_PX], margins_px, beyond=1)
        return Features(vectors[:, inside[0], inside[1]], is_judged, contrast.brightness)

    def _vectors(self, contrast: Floats) -> Floats:
        """Run the network over a wide image part by part: (C, h, w) of (H, W)."""
        width, parts = contrast.shape[1], []
        for start in range(0, width, PART_PX):
            first, last = max(0, start - AROUND_PX), min(width, start + PART_PX + AROUND_PX)
            given = self._run(np.ascontiguousarray(contrast[None, None, :, first:last]))
            skipped = (start - first) // STRIDE_PX
            parts.append(given[0, :, :, skipped : skipped + PART_PX // STRIDE_PX])
        return np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]

    def _run(self, contrast_nchw: Floats) -> Floats:
        try:
            (given,) = self._session.run([FEATURES_PORT], {CONTRAST_PORT: contrast_nchw})
        except ORT_ERRORS as error:
            raise BackendError(f"The reference model failed: {error}.", "Run edge-doctor.") from error
        return np.asarray(given, np.float32)


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


def vectors_of(features: Features, most: int) -> NDArray[np.float32]:
    """Return an even sample of the vectors that are judged, (C, n), at most about `most` of them."""
    at = np.flatnonzero(features.is_judged)
    step = max(1, len(at) // most) if most else 1
    flat = features.vectors.reshape(len(features.vectors), -1)
    return np.ascontiguousarray(flat[:, at[:: step | 1]])

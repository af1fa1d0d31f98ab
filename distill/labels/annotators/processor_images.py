"""Bring images into the form that the processors of transformers take."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.image import Image


def rgb_from_image(image: Image) -> NDArray[np.uint8]:
    """Bring an image into the processor's form: (H, W, 3) RGB, uint8."""
    code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code), np.uint8)

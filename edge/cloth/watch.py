"""Ask where the cloth is, and believe the answer only where it can be believed."""

from __future__ import annotations

import logging

from edge.cameras.protocol import FramePosition
from edge.cloth.finder import ClothFinder, GrainFinder, is_black
from edge.cloth.mask import ClothMask
from edge.config.edge import EdgeConfig
from edge.core.image import Image

logger = logging.getLogger(__name__)

PROOF_FRACTION = 0.5
"""A finder that has seen this fraction of one image as cloth knows the article. Until then it is not
believed, but for a black image: cloth whose grain drowns in noise would otherwise pass as an empty
machine."""


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

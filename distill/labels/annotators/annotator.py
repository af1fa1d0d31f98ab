"""What every annotator is: something that looks at pictures and says what it sees, with a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from distill.labels.sets.annotations import Region
from edge.core.image import Image


class Annotator(Protocol):
    """Look at pictures.

    Attributes:
        name: what its regions are said to come from; no two annotators of one engine share it.
    """

    name: str

    def annotate(self, images: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Say what is in each picture.

        Args:
            images: (H, W) grey or (H, W, 3) BGR, uint8, of any sizes.
        Returns:
            Per picture its regions, in its pixels, each with a raw score in [0, 1]. The answer for a
            picture does not depend on which others are given with it.
        """
        ...

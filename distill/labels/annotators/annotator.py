"""Define the protocol of an annotator: it looks at images and returns regions with scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from distill.labels.sets.annotations import Region
from edge.core.image import Image


class Annotator(Protocol):
    """Look at images.

    Attributes:
        name: what its regions are said to come from; no two annotators of one engine share it.
    """

    name: str

    def annotate(self, images: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Say what is in each image.

        Args:
            images: (H, W) grey or (H, W, 3) BGR, uint8, of any sizes.
        Returns:
            Per image its regions, in its pixels, each with a raw score in [0, 1]. The answer for a
            image does not depend on which others are given with it.
        """
        ...


@runtime_checkable
class SaysAtEnd(Protocol):
    """Count what is the same in many images, to say it once in place of once for each of them."""

    def say_at_end(self) -> None:
        """Log what was counted since the last call; nothing if that is nothing."""
        ...

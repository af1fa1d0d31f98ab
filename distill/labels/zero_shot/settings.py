"""Define the settings of an open-vocabulary detector."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from distill.core.value import FiniteValue, Fraction

Words = Annotated[str, Field(min_length=1)]


class ZeroShotSettings(FiniteValue):
    """Say how an open-vocabulary detector is asked.

    Attributes:
        score_threshold: boxes below this are not reported; None takes the default for the model: 0.25 for
            Grounding DINO and 0.1 for OWL-ViT and OWLv2 (the defaults of transformers).
        negative_prompts: words for what is no defect, for instance ``table edge``. What they describe
            better than any word of the taxonomy is dropped.
        iou_threshold: boxes of one class that overlap more are the same thing.
        batch: images or tiles given to the network at once.
        tile_px: side of the tiles that larger images are cut into; None looks at images whole.
        tile_overlap_px: least overlap of neighbouring tiles.
        max_regions: of one image, the best of them.
    """

    score_threshold: Fraction | None = None
    negative_prompts: tuple[Words, ...] = ()
    iou_threshold: Fraction = 0.5
    batch: int = Field(default=4, ge=1, le=1024)
    tile_px: int | None = Field(default=None, ge=32)
    tile_overlap_px: int = Field(default=64, ge=0)
    max_regions: int = Field(default=100, ge=1)

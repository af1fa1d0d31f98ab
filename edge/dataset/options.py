"""Define the options of a simulated data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from edge.core.errors import ConfigError
from edge.core.settings import OwnPath
from edge.simulator.ground_truth import DIFFICULTIES, Difficulty
from edge.simulator.options import (
    CATEGORIES,
    DEFAULT_LOOK,
    MIN_CLOTH_PX,
    Categories,
    Look,
    Pattern,
    Weave,
    checked_pattern,
    validated,
)

SPLITS = ("train", "val", "test")

DatasetLook = Look | Literal["both"]
"""How cloth and defects are drawn: all images alike, or each one in either look."""

LOOK_STREAM = 8
"""Of the random numbers of an image: which of both looks it has."""

WOVEN_KEYS = ("weave", "pattern", "mean_grey", "article_share")
"""What real clean images are not asked for."""

SIZE_PERMITTED = "height and width, 128 to 8192 pixels"


class DatasetOptions(BaseModel):
    """Describe a data set: how many images of what, and how they are split."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    on: OwnPath | None = Field(
        None, description="a folder of clean images to plant the defects in, or none to weave the cloth"
    )
    images: int = Field(1000, ge=1, le=1_000_000, description="1 to 1,000,000")
    split: dict[str, float] = Field(
        {"train": 0.8, "val": 0.1, "test": 0.1}, description="fractions of train, val and test, sum 1"
    )
    seed: int = Field(0, ge=0, description="a whole number from 0")
    size_hw: tuple[int, int] = Field((256, 1024), description=SIZE_PERMITTED)
    mm_per_px: float = Field(0.2, ge=0.02, le=2.0, description="0.02 to 2 millimetres")
    look: DatasetLook = Field(DEFAULT_LOOK, description="drawn, woven or both")
    weave: Weave | None = Field(None, description="plain, twill or satin")
    pattern: Pattern | None = Field(
        None, description="solid, stripes or checks; stripes and checks with look woven"
    )
    warp_pitch_px: float | None = Field(None, ge=2.5, le=16, description="2.5 to 16 pixels")
    weft_pitch_px: float | None = Field(None, ge=2.5, le=16, description="2.5 to 16 pixels")
    mean_grey: float | None = Field(None, ge=40, le=220, description="40 to 220 grey levels")
    article_share: float = Field(
        1.0, ge=0, le=1, description="0 to 1: fraction of images with that weave, pitch and grey"
    )
    colour: bool = Field(False, description="true or false")
    categories: Categories = Field(CATEGORIES, min_length=1, description=f"any of {'+'.join(CATEGORIES)}")
    difficulties: tuple[Difficulty, ...] = Field(
        DIFFICULTIES, min_length=1, description=f"any of {'+'.join(DIFFICULTIES)}"
    )
    defect_share: float = Field(0.67, ge=0, le=1, description="0 to 1")
    defects_per_m: float = Field(
        6.0, gt=0, le=40, description="above 0, up to 40 per metre of roll, in images with defects"
    )
    workers: int = Field(1, ge=1, le=64, description="1 to 64 processes")

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: Pattern | None, info: ValidationInfo) -> Pattern | None:
        return checked_pattern(pattern, info)

    @field_validator("split")
    @classmethod
    def _check_split(cls, split: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(split) - set(SPLITS))
        if unknown:
            raise ValueError(f"no such split: {', '.join(unknown)}")
        if min(split.values(), default=0.0) < 0 or abs(sum(split.values()) - 1.0) > 1e-6:
            raise ValueError("the fractions have to be 0 or more and sum to 1")
        return split

    @field_serializer("on")
    def _as_text(self, on: Path | None) -> str | None:
        return None if on is None else str(on)

    @model_validator(mode="after")
    def _check_cloth(self) -> Self:
        asked = [key for key in WOVEN_KEYS if self.on is not None and key in self.model_fields_set]
        asked = [key for key in asked if getattr(self, key) != type(self).model_fields[key].default]
        if asked:
            raise ValueError(f"{asked[0]} is of woven cloth: images of clean cloth have their own")
        return self

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if not all(MIN_CLOTH_PX + 32 <= side <= 8192 for side in self.size_hw):
            raise ValueError("size_hw has to lie between 128 and 8192 pixels")
        return self

    def look_of(self, image_seed: int) -> Look:
        """Return the look of an image; where the data set has both, each of them has half of the images."""
        if self.look != "both":
            return self.look
        return "woven" if np.random.default_rng([image_seed, LOOK_STREAM]).random() < 0.5 else "drawn"

    def split_of(self, index: int) -> str:
        """Return the split that an image belongs to; whole ranges of indices share one."""
        fractions = [(name, self.split[name]) for name in SPLITS if self.split.get(name, 0.0) > 0]
        passed = 0.0
        for name, fraction in fractions:
            passed += fraction
            if index < round(passed * self.images):
                return name
        return fractions[-1][0]


def parse_split(text: str) -> dict[str, float]:
    """Read ``train=0.8,val=0.1,test=0.1``.

    Raises:
        ConfigError: if it is not of that form.
    """
    split: dict[str, float] = {}
    for part in text.split(","):
        name, equals, fraction = (word.strip() for word in part.partition("="))
        try:
            if not equals or name in split:
                raise ValueError(part)
            split[name] = float(fraction)
        except ValueError as error:
            raise ConfigError(
                f"--split: '{text}' cannot be read.", "Write train=0.8,val=0.1,test=0.1."
            ) from error
    return split


def validated_dataset_options(values: dict[str, object], source: str) -> DatasetOptions:
    """Build the options of a data set from plain values; see `edge.simulator.options.validated`."""
    return validated(DatasetOptions, values, source, "size_hw", f"Permitted: {SIZE_PERMITTED}.")

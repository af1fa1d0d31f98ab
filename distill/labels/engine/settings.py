"""Define the settings of the data engine: its annotators, and how their boxes are decided on."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from distill.core.value import FiniteValue, Fraction
from distill.labels.engine.fusion import Fusion, Method
from distill.labels.engine.registry import ANNOTATORS
from distill.labels.engine.triage import Band
from edge.core.settings import OneOf

Device = Literal["auto", "cpu", "cuda"]

ENVIRONMENT_PREFIX = "LOOMSIGHT_PSEUDO_LABEL_"
"""LOOMSIGHT_PSEUDO_LABEL_BATCH=4 sets `batch`; only plain values, not tables."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class AnnotatorSpec(FiniteValue):
    """Name an annotator, as it stands in a file.

    Attributes:
        kind: what it is; `python` is code of the mill's own.
        model: hub id, folder or checkpoint; for `detector` also `shipped`; for `reference` an article
            file, or `self`; for `python` a `module:function` that is given the taxonomy and `settings` and
            returns an `Annotator`.
        name: what its regions are said to come from; the kind, if it is not given.
        adapter: LoRA adapter of a Florence-2.
        settings: of its kind.
        weight: how much it counts; None takes the fraction of its boxes that was right on the reviewed
            split.
        teach: whether `--rounds` may teach it further (Florence-2 and detectors).
        teaching: its settings: those of `loomsight teacher finetune`, or of a recipe of `distill`.
    """

    kind: Annotated[str, OneOf(ANNOTATORS)]
    model: str = Field(min_length=1)
    name: str = ""
    adapter: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    weight: float | None = Field(default=None, ge=0)
    teach: bool = True
    teaching: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_teachable(self) -> bool:
        """Whether it can be, and may be, taught."""
        return self.teach and ANNOTATORS[self.kind].is_teachable

    @model_validator(mode="before")
    @classmethod
    def _named_by_kind(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("name"):
            return {**values, "name": values.get("kind", "")}
        return values

    @field_validator("name")
    @classmethod
    def _can_be_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("letters, digits, dots, dashes and underscores make a name")
        return name


class Outlines(FiniteValue):
    """Say that boxes become outlines and tight boxes, by a SAM.

    Attributes:
        model: hub id or folder.
        settings: of the outlining.
    """

    model: str = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)


class EngineSettings(FiniteValue):
    """State everything that decides which boxes come out, apart from the images.

    Attributes:
        annotators: who is asked, one or more, each under its own name.
        fusion: `weighted` averages the boxes of all that found a thing; `best` keeps the most confident.
        iou_threshold: boxes of one class that overlap more are one thing.
        accept_precision: with a reviewed split, the score from which a class is accepted is chosen so that
            this fraction of what is accepted there is right.
        worth_a_look: with a reviewed split, what is less likely to be right than this is rejected.
        band: for a class that the reviewed split does not show often enough, or without one.
        bands: by class, in place of what would be chosen.
        blacklist: a region whose words contain one of these is dropped.
        least_side_mm: a region with both sides smaller is dropped.
        outlines: None leaves boxes as they are.
        shard_pictures: images per shard: what a killed job has to do again at most.
        batch: images that an annotator is given at once.
    """

    annotators: tuple[AnnotatorSpec, ...] = Field(min_length=1)
    fusion: Method = "weighted"
    iou_threshold: Fraction = 0.5
    accept_precision: Fraction = 0.9
    worth_a_look: Fraction = 0.1
    band: Band = Band()
    bands: dict[str, Band] = Field(default_factory=dict)
    blacklist: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    least_side_mm: float = Field(default=0.0, ge=0)
    outlines: Outlines | None = None
    shard_pictures: int = Field(default=64, ge=1, le=100_000)
    batch: int = Field(default=16, ge=1, le=4096)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [annotator.name for annotator in self.annotators]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two annotators are named {', '.join(repeated)}: give each a name")
        return self

    def fusion_of(self, weights: dict[str, float]) -> Fusion:
        """Return how boxes are fused, with the weights that a calibration found."""
        given = {a.name: a.weight for a in self.annotators if a.weight is not None}
        merged = {**weights, **given}
        return Fusion(self.fusion, self.iou_threshold, merged if any(merged.values()) else None)

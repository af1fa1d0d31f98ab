"""Sort regions that were not reviewed: accepted, queued for a person, or rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field, model_validator
from typing_extensions import Self

from distill.core.value import Value
from distill.labels.sets.annotations import Region
from edge.core.detections import UNCLASSIFIED


class Band(Value):
    """Say from which calibrated score a class is accepted, and below which it is rejected.

    Between the two a person decides.
    """

    accept: float = Field(0.8, ge=0, le=1)
    reject: float = Field(0.3, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.reject > self.accept:
            raise ValueError("reject must not be above accept")
        return self


@dataclass(frozen=True, slots=True)
class Triage:
    """Sort regions by class-wise bands and by size.

    Attributes:
        bands: per class; a class not named has `default`.
        default: see above.
        least_side_mm: a region with both sides smaller is rejected; needs the scale of the image.
    """

    bands: Mapping[str, Band]
    default: Band
    least_side_mm: float = 0.0

    def sort(self, regions: Sequence[Region], mm_per_px: float | None = None) -> Sorted:
        """Sort the regions of one image.

        Args:
            regions: with calibrated scores; what a person has accepted or corrected passes as it is, what
                a person has rejected stays rejected. What is `unclassified` is never accepted.
            mm_per_px: scale of the image; None if not known, then nothing is too small.
        Returns:
            What waits for a person has the review state ``queued``.
        """
        kinds: dict[str, list[Region]] = {"accepted": [], "queued": [], "rejected": []}
        for region in regions:
            kinds[self._fate(region, mm_per_px)].append(_weighted(region))
        queued = tuple(replace(region, review="queued") for region in kinds["queued"])
        return Sorted(tuple(kinds["accepted"]), queued, tuple(kinds["rejected"]))

    def _fate(self, region: Region, mm_per_px: float | None) -> str:
        if region.review in ("accepted", "corrected") and region.label != UNCLASSIFIED:
            return "accepted"
        if region.review == "rejected" or self._is_too_small(region, mm_per_px):
            return "rejected"
        band = self.bands.get(region.label, self.default)
        score = region.score or 0.0
        if score >= band.accept and region.label != UNCLASSIFIED:
            return "accepted"
        return "queued" if score >= band.reject else "rejected"

    def _is_too_small(self, region: Region, mm_per_px: float | None) -> bool:
        if mm_per_px is None:
            return False
        x1, y1, x2, y2 = region.box_xyxy_px
        return max(x2 - x1, y2 - y1) * mm_per_px < self.least_side_mm


@dataclass(frozen=True, slots=True)
class Sorted:
    """Hold the regions of one image by what became of them."""

    accepted: tuple[Region, ...] = ()
    queued: tuple[Region, ...] = ()
    rejected: tuple[Region, ...] = ()


def _weighted(region: Region) -> Region:
    """Give a region the weight a trainer is to use: 1 where a person decided, else its probability."""
    by_a_person = region.review in ("accepted", "corrected")
    return replace(region, weight=1.0 if by_a_person or region.score is None else region.score)

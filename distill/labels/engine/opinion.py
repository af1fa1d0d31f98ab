"""Merge what several annotators say of one image: named, calibrated, fused, sorted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distill.labels.engine.fusion import Fusion
from distill.labels.engine.proposals import apart, is_proposal, not_covered, with_votes
from distill.labels.engine.triage import Sorted, Triage
from distill.labels.sets.annotations import Region
from distill.labels.sets.naming import Namer
from edge.core.geometry import iou_matrix

Calibrator = Callable[[float], float]
"""From a score to the fraction of such regions that are right."""

Answers = Mapping[str, Sequence[Region]]
"""Raw regions of one image by annotator; one that found nothing is there with none."""


@dataclass(frozen=True)
class Opinion:
    """Say how answers become one opinion.

    Attributes:
        namer: brings words to the taxonomy.
        fusion: how boxes of the same thing become one.
        triage: what is accepted, queued, rejected.
        calibrators: by annotator; a score of one not named is taken as it is.
        final: of fused scores.
    """

    namer: Namer
    fusion: Fusion
    triage: Triage
    calibrators: Mapping[str, Calibrator] = field(default_factory=dict)
    final: Calibrator = float

    def of(self, answers: Answers, size_hw_px: tuple[int, int], mm_per_px: float | None = None) -> Sorted:
        """Sort what was said of one image.

        Args:
            answers: see `Answers`.
            size_hw_px: of the image.
            mm_per_px: its scale; None if not known.
        Returns:
            Regions with calibrated scores; `annotator` names all that found each.
        """
        regions = [replace(r, score=self.final(r.score or 0.0)) for r in self.fused(answers, size_hw_px)]
        named = _without_disputes(self.triage.sort(regions, mm_per_px), self.fusion.iou_threshold)
        proposals = self.triage.sort(self.proposed(answers, size_hw_px), mm_per_px)
        left = not_covered(proposals.queued, (*named.accepted, *named.queued))
        return replace(
            named, queued=(*named.queued, *left), rejected=(*named.rejected, *proposals.rejected)
        )

    def fused(self, answers: Answers, size_hw_px: tuple[int, int]) -> tuple[Region, ...]:
        """Fuse what was named in one image; scores are those of the fusion."""
        return self.fusion.fuse(with_votes(*apart(self._all_calibrated(answers, size_hw_px))), size_hw_px)

    def proposed(self, answers: Answers, size_hw_px: tuple[int, int]) -> tuple[Region, ...]:
        """Fuse the places of one image that have no class, whether others name them or not."""
        _, proposals = apart(self._all_calibrated(answers, size_hw_px))
        who = {name: said for name, said in proposals.items() if said}
        return replace(self.fusion, method="best").fuse(who, size_hw_px)

    def named(self, name: str, regions: Sequence[Region], size_hw_px: tuple[int, int]) -> Sequence[Region]:
        """Keep the regions of one annotator that have a place in the taxonomy, each thing once."""
        named = [region for raw in regions if (region := self._named(raw)) is not None]
        once = replace(self.fusion, method="best").fuse({name: named}, size_hw_px)
        return [replace(region, annotator=name) for region in once]

    def unknown(self, answers: Answers) -> Counter[str]:
        """Count the names that the taxonomy does not have, or that are blacklisted."""
        return Counter(r.label for said in answers.values() for r in said if self._named(r) is None)

    def _named(self, raw: Region) -> Region | None:
        named = self.namer.named(raw)
        return raw if named is None and is_proposal(raw) else named

    def _all_calibrated(self, answers: Answers, size_hw_px: tuple[int, int]) -> dict[str, list[Region]]:
        return {
            name: [self._calibrated(name, region) for region in self.named(name, regions, size_hw_px)]
            for name, regions in answers.items()
        }

    def _calibrated(self, name: str, region: Region) -> Region:
        return replace(region, score=self.calibrators.get(name, float)(region.score or 0.0))


def _without_disputes(result: Sorted, iou_threshold: float) -> Sorted:
    """Let a person decide where two classes are accepted for one thing: the surer one stays."""
    kept: list[Region] = []
    disputed: list[Region] = []
    for region in sorted(result.accepted, key=lambda region: -(region.score or 0.0)):
        same = any(_overlap(region, other) >= iou_threshold for other in kept)
        (disputed if same and region.review == "unreviewed" else kept).append(region)
    queued = [*(replace(region, review="queued") for region in disputed), *result.queued]
    return replace(result, accepted=tuple(kept), queued=tuple(queued))


def _overlap(a: Region, b: Region) -> float:
    boxes = (np.asarray([region.box_xyxy_px], np.float32) for region in (a, b))
    return float(iou_matrix(*boxes)[0, 0])

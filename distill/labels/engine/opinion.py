"""One picture through the engine: asked, named, calibrated, fused, sorted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from distill.labels.annotations import Region
from distill.labels.annotator import Annotator
from distill.labels.fusion import Fusion
from distill.labels.naming import Namer
from distill.labels.triage import Sorted, Triage
from edge.image import Image

Calibrator = Callable[[float], float]
"""From a raw score to the share of such regions that are right."""


@dataclass(frozen=True)
class Panel:
    """Ask several annotators and make one opinion of it.

    Attributes:
        annotators: who is asked.
        namer: brings their words to the taxonomy.
        calibrators: by annotator name; a score of one not named is taken as it is.
        fusion: how boxes of the same thing become one.
        triage: what is accepted, queued, let go.
    """

    annotators: Sequence[Annotator]
    namer: Namer
    fusion: Fusion
    triage: Triage
    calibrators: Mapping[str, Calibrator] = field(default_factory=dict)

    def label(self, images: Sequence[Image], mm_per_px: float | None = None) -> list[Sorted]:
        """Label pictures.

        Args:
            images: (H, W) grey or (H, W, 3) BGR, uint8.
            mm_per_px: scale of all of them; None if not known.
        Returns:
            Per picture what is accepted, queued and rejected.
        """
        answers = {annotator.name: annotator.annotate(images) for annotator in self.annotators}
        return [
            self._opinion({name: given[index] for name, given in answers.items()}, image, mm_per_px)
            for index, image in enumerate(images)
        ]

    def _opinion(
        self, answers: Mapping[str, Sequence[Region]], image: Image, mm_per_px: float | None
    ) -> Sorted:
        calibrated = {name: self._calibrated(name, regions) for name, regions in answers.items()}
        fused = self.fusion.fuse(calibrated, (image.shape[0], image.shape[1]))
        return self.triage.sort(fused, mm_per_px)

    def _calibrated(self, name: str, regions: Sequence[Region]) -> list[Region]:
        """Keep the regions that have a place in the taxonomy, under its names, with calibrated scores."""
        calibrate = self.calibrators.get(name, float)
        named = (self.namer.named(region) for region in regions)
        return [
            replace(region, score=calibrate(region.score or 0.0), annotator=name)
            for region in named
            if region is not None
        ]

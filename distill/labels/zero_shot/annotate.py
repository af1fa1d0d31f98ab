"""Annotate by an open-vocabulary detector: it is asked for the taxonomy's words and returns triples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distill.labels.annotators.processor_images import rgb_from_image
from distill.labels.annotators.tiling import look_by_tiles, without_duplicates
from distill.labels.sets.annotations import Region
from distill.labels.zero_shot.found import BoxesOfView
from distill.labels.zero_shot.grounding_dino import GroundingDinoQuery
from distill.labels.zero_shot.loading import GROUNDING_DINO_TYPES, OpenDetector
from distill.labels.zero_shot.owl import OwlQuery
from distill.labels.zero_shot.prompts import Prompt, prompts_of, texts_of
from distill.labels.zero_shot.settings import ZeroShotSettings
from edge.core.geometry import iou_matrix
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy

ANNOTATOR = "zero-shot"


class Query(Protocol):
    """Words that a detector is asked for."""

    usual_threshold: float

    def find(self, images_rgb: Sequence[NDArray[np.uint8]], threshold: float) -> list[BoxesOfView]:
        """Find them in images of one size."""
        ...


class ZeroShotAnnotator:
    """Look at images with an open-vocabulary detector.

    It is asked for phrase and category of each kind; a box found by either gets the kind's whole triple.

    Args:
        detector: of `distill.labels.zero_shot.loading.load_open_detector`.
        taxonomy: of the mill.
        settings: how it is asked.
        name: what its regions are said to come from.

    Raises:
        ConfigError: if a prompt is too long, or a negative one is a word of the taxonomy.
    """

    def __init__(
        self,
        detector: OpenDetector,
        taxonomy: Taxonomy,
        settings: ZeroShotSettings | None = None,
        name: str = ANNOTATOR,
    ) -> None:
        self.name = name
        self._settings = settings or ZeroShotSettings()
        self._prompts = prompts_of(taxonomy, self._settings.negative_prompts)
        self._query = query_of(detector, texts_of(self._prompts))
        given = self._settings.score_threshold
        self._threshold = self._query.usual_threshold if given is None else given

    def annotate(self, images: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Say what is in each image; images larger than a tile are looked at tile by tile.

        Args:
            images: (H, W) grey or (H, W, 3) BGR, uint8, of any sizes.
        Returns:
            Per image its regions by falling score, in its pixels.
        """
        merged = look_by_tiles(images, self._settings, self._look)
        return [regions[: self._settings.max_regions] for regions in merged]

    def _look(self, cuts: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Look at images, those of one size together: padding would let one change another's answer."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for index, cut in enumerate(cuts):
            alike.setdefault(cut.shape[:2], []).append(index)
        regions: list[tuple[Region, ...]] = [()] * len(cuts)
        for indices in alike.values():
            for start in range(0, len(indices), self._settings.batch):
                some = indices[start : start + self._settings.batch]
                found = self._query.find([rgb_from_image(cuts[index]) for index in some], self._threshold)
                for index, one in zip(some, found, strict=True):
                    regions[index] = self._regions(one, (cuts[index].shape[0], cuts[index].shape[1]))
        return regions

    def _regions(self, found: BoxesOfView, size_hw_px: tuple[int, int]) -> tuple[Region, ...]:
        """Name what was found in one view; drop what is no defect, lies outside, or is a duplicate."""
        height, width = size_hw_px
        boxes = found.boxes_xyxy_px.numpy().clip(0, np.array([width, height, width, height], np.float32))
        scores, prompts = found.scores.numpy(), [self._prompts[index] for index in found.prompts.tolist()]
        has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        kept = has_area & ~described_better(boxes, scores, np.array([not p.label for p in prompts], bool),
                                            self._settings.iou_threshold)  # fmt: skip
        regions = [
            self._region(prompts[index], boxes[index].tolist(), float(scores[index]))
            for index in np.flatnonzero(kept)
        ]
        return without_duplicates(regions, self._settings.iou_threshold)

    def _region(self, prompt: Prompt, box: Sequence[float], score: float) -> Region:
        x1, y1, x2, y2 = box
        return Region(
            prompt.label or "",
            (x1, y1, x2, y2),
            category=prompt.category,
            phrase=prompt.phrase,
            score=min(1.0, score),
            annotator=self.name,
        )


def query_of(detector: OpenDetector, texts: Sequence[str]) -> Query:
    """Prepare the words for a detector of either family.

    Raises:
        ConfigError: if one is too long for it.
    """
    if detector.model_type in GROUNDING_DINO_TYPES:
        return GroundingDinoQuery(detector, texts)
    return OwlQuery(detector, texts)


def described_better(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    is_negative: NDArray[np.bool_],
    iou_threshold: float,
) -> NDArray[np.bool_]:
    """Tell which boxes a negative prompt describes, or describes better where two overlap, (N,)."""
    if not is_negative.any():
        return is_negative
    overlap = iou_matrix(boxes_xyxy, boxes_xyxy[is_negative])
    better = scores[is_negative][None] >= scores[:, None]
    return np.asarray(is_negative | ((overlap > iou_threshold) & better).any(axis=1))

"""Annotators that know the ground truth and say it badly, each in a way of its own: for measuring the data
engine.

Named in the settings of `loomsight pseudo-label` as kind "python", model "simulated_annotators:annotator".
What they say of an image depends on its pixels, their manner and nothing else.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from distill.labels.engine.reviewed import true_regions
from distill.labels.sets.annotations import LabelSet, Region
from distill.labels.sets.image_files import content_digest, decoded
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy


class Manner(BaseModel):
    """Say how an annotator errs.

    Attributes:
        truth: file of `write_ground_truth`.
        habit: of its wrong boxes; `honest` has none of its own.
        miss: fraction of the defects it does not see.
        invent: chance of a box where nothing is, and again of another.
        surety: mean score of what it sees, and of what it invents.
        sloppiness: deviation of its corners, as a fraction of the sides.
        pause_s: it takes so long for an image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    truth: Path
    habit: Literal["honest", "shifts", "misnames", "doubles"] = "honest"
    miss: float = Field(default=0.15, ge=0, le=1)
    invent: float = Field(default=0.2, ge=0, lt=1)
    surety: tuple[float, float] = (0.7, 0.5)
    sloppiness: float = Field(default=0.03, ge=0)
    pause_s: float = Field(default=0.0, ge=0)


class SimulatedAnnotator:
    """Look the ground truth up by the pixels of an image, and say it in a manner."""

    name = "simulated"

    def __init__(self, taxonomy: Taxonomy, manner: Manner) -> None:
        self._classes = taxonomy.classes
        self._manner = manner
        self._ground_truth: Mapping[str, list[Any]] = json.loads(manner.truth.read_text(encoding="utf-8"))

    def annotate(self, images: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Say what is in each image."""
        return [self._said(image) for image in images]

    def _said(self, image: Image) -> tuple[Region, ...]:
        time.sleep(self._manner.pause_s)
        digest = content_digest(image)
        chance = random.Random(f"{digest} {self._manner.model_dump_json(exclude={'truth', 'pause_s'})}")
        seen = [
            region
            for label, box in self._ground_truth.get(digest, [])
            if chance.random() >= self._manner.miss
            for region in self._seen(label, box, chance)
        ]
        height, width = image.shape[:2]
        while chance.random() < self._manner.invent:
            seen.append(self._invented(width, height, chance))
        return tuple(seen)

    def _seen(self, label: str, box: Sequence[float], chance: random.Random) -> list[Region]:
        x1, y1, x2, y2 = box
        width, height = x2 - x1, y2 - y1
        if self._manner.habit == "shifts":
            x1, x2 = x1 + 0.7 * width, x2 + 0.7 * width
        if self._manner.habit == "misnames":
            label = self._classes[(self._classes.index(label) + 1) % len(self._classes)]
        boxes = 2 if self._manner.habit == "doubles" else 1
        return [
            Region(
                label, self._sloppy((x1, y1, x2, y2), width, height, chance), score=self._score(0, chance)
            )
            for _ in range(boxes)
        ]

    def _sloppy(
        self, box: tuple[float, float, float, float], width: float, height: float, chance: random.Random
    ) -> tuple[float, float, float, float]:
        moves = [chance.gauss(0, self._manner.sloppiness) * side for side in (width, height) * 2]
        x1, y1, x2, y2 = (corner + move for corner, move in zip(box, moves, strict=True))
        return x1, y1, x2, y2

    def _invented(self, width: int, height: int, chance: random.Random) -> Region:
        x, y = chance.uniform(0, 0.8 * width), chance.uniform(0, 0.8 * height)
        box = (x, y, x + chance.uniform(0.05, 0.2) * width, y + chance.uniform(0.05, 0.2) * height)
        return Region(chance.choice(self._classes), box, score=self._score(1, chance))

    def _score(self, of_invented: int, chance: random.Random) -> float:
        return min(1.0, max(0.0, chance.gauss(self._manner.surety[of_invented], 0.15)))


def annotator(taxonomy: Taxonomy, settings: Mapping[str, Any]) -> SimulatedAnnotator:
    """Make an annotator from the settings of its file."""
    return SimulatedAnnotator(taxonomy, Manner.model_validate(dict(settings)))


def write_ground_truth(sets: Iterable[LabelSet], file: Path) -> None:
    """Write the true boxes of all images of some sets, by the digest of their pixels."""
    truth = {
        content_digest(decoded(label_set.root / image.file_name)): [
            (region.label, region.box_xyxy_px) for region in true_regions(image.regions)
        ]
        for label_set in sets
        for image in label_set.images
    }
    file.write_text(json.dumps(truth) + "\n", encoding="utf-8")

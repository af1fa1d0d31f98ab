"""Compare two bundles on labelled images that neither was trained on, article by article."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.hits import points_at
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet, Region
from edge.config.edge import EdgeConfig
from edge.core.errors import DatasetError
from edge.core.image_file import read_image
from edge.inference.inspector import Inspector
from edge.inference.model import open_model

SURE: Final = 0.05
"""A difference that chance makes more seldom is one."""

LEAST_BOXES: Final = 10
"""With fewer, an article is said to have too few to tell."""


@dataclass(frozen=True, slots=True)
class ArticleScore:
    """Count what two bundles find on the held-out images of one article, at the thresholds that they ship.

    Attributes:
        boxes: labelled defects.
        found_before, found_after: of those.
        lost, gained: found by one of both alone.
        false_before, false_after: reports where no defect is.
    """

    article: str
    images: int = 0
    boxes: int = 0
    found_before: int = 0
    found_after: int = 0
    lost: int = 0
    gained: int = 0
    false_before: int = 0
    false_after: int = 0

    @property
    def is_worse(self) -> bool:
        """Whether it finds less, or raises more false alarms, than chance explains."""
        loses = self.lost > self.gained and by_chance(self.lost, self.lost + self.gained) <= SURE
        more = self.false_after - self.false_before
        alarms = more > 0 and by_chance(self.false_after, self.false_before + self.false_after) <= SURE
        return loses or alarms

    @property
    def is_thin(self) -> bool:
        """Whether there are too few boxes to tell."""
        return self.boxes < LEAST_BOXES

    def text(self) -> str:
        """Return the counts in words."""
        verdict = "worse" if self.is_worse else "too few boxes to tell" if self.is_thin else "not worse"
        found = f"found {self.found_before} -> {self.found_after} of {self.boxes}"
        alarms = f"false alarms {self.false_before} -> {self.false_after} on {self.images} images"
        return f"{self.article or 'no article'}: {found}, {alarms}: {verdict}"


def by_chance(successes: int, tries: int) -> float:
    """Return how often a fair coin gives at least so many successes (one-sided sign test)."""
    return float(sum(comb(tries, k) for k in range(successes, tries + 1)) / 2**tries)


def compared(
    before: Path,
    after: Path,
    held_out: LabelSet,
    article_of: Callable[[AnnotatedImage], str],
    config: EdgeConfig | None = None,
) -> list[ArticleScore]:
    """Run both bundles over the same images.

    Args:
        before, after: bundle folders.
        held_out: labels; images with boxes that wait for a review are left out.
        article_of: names the article of an image.
        config: settings of the runtime; None for the defaults.
    Returns:
        One score for each article, by name.
    Raises:
        DatasetError: if no image is left.
        LoomsightError: if a bundle or an image cannot be read.
    """
    config = config or EdgeConfig()
    images = [one for one in held_out.images if _is_judged(one)]
    if not images:
        raise DatasetError("No image has been judged as a whole.", "Review what is queued first.")
    scores: dict[str, ArticleScore] = {}
    with ExitStack() as stack:
        inspectors = [
            Inspector(*open_model(config.changed(model=path), stack), config.batch_tiles)
            for path in (before, after)
        ]
        for image in images:
            article = article_of(image)
            pixels = read_image(held_out.root / image.file_name)
            truth = np.array([one.box_xyxy_px for one in _real(image)], np.float32).reshape(-1, 4)
            hits = [
                points_at(one.inspect(pixels, held_out.mm_per_px).boxes_xyxy_px, truth)
                for one in inspectors
            ]
            scores[article] = _added(scores.get(article, ArticleScore(article)), hits, len(truth))
    return [scores[name] for name in sorted(scores)]


def _added(score: ArticleScore, hits: Sequence[NDArray[np.bool_]], boxes: int) -> ArticleScore:
    old, new = (one.any(axis=0) for one in hits)
    false_old, false_new = (int((~one.any(axis=1)).sum()) for one in hits)
    return ArticleScore(
        score.article,
        score.images + 1,
        score.boxes + boxes,
        score.found_before + int(old.sum()),
        score.found_after + int(new.sum()),
        score.lost + int((old & ~new).sum()),
        score.gained + int((new & ~old).sum()),
        score.false_before + false_old,
        score.false_after + false_new,
    )


def articles_by_group(groups: Mapping[str, str]) -> Callable[[AnnotatedImage], str]:
    """Return what names the article of an image by its group."""
    return lambda image: groups.get(image.group or "", "")


def _real(image: AnnotatedImage) -> list[Region]:
    return [one for one in image.regions if one.review not in NOT_TRAINED_ON]


def _is_judged(image: AnnotatedImage) -> bool:
    return not image.unread and all(one.review != "queued" for one in image.regions)

"""Judge annotators, and the set they make, against the reviewed judging split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from distill.labels.annotators.as_detections import as_detections
from distill.labels.engine.calibrating import ReviewedImage
from distill.labels.engine.opinion import Opinion
from distill.labels.engine.proposals import as_the_ground_truth_has_it, is_proposal
from distill.labels.engine.reliability import judge
from distill.labels.sets.annotations import Region
from edge.core.detections import Detections
from edge.core.taxonomy import Taxonomy


class Quality(BaseModel):
    """Count boxes against the ground truth, by class; what is right says `reliability.RIGHT_RULE`.

    Attributes:
        true_boxes: there were to find.
        boxes: were accepted.
        right: of these are right.
        queued_right: right ones among those that wait for a person.
    """

    model_config = ConfigDict(frozen=True)

    true_boxes: int = 0
    boxes: int = 0
    right: int = 0
    queued_right: int = 0

    @property
    def precision(self) -> float | None:
        """Fraction of the accepted boxes that is right; None without any."""
        return self.right / self.boxes if self.boxes else None

    @property
    def recall(self) -> float | None:
        """Fraction of the true boxes that was accepted; None without any."""
        return self.right / self.true_boxes if self.true_boxes else None

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 0 without any."""
        total = self.boxes + self.true_boxes
        return 2 * self.right / total if total else 0.0


def quality_of(opinion: Opinion, images: Iterable[ReviewedImage]) -> Quality:
    """Count what would be accepted of these images."""
    true_boxes = boxes = right = queued_right = 0
    for image in images:
        result = opinion.of(image.answers, image.size_hw_px)
        found = as_the_ground_truth_has_it((*result.accepted, *result.queued), image.ground_truth)
        _, is_right = judge(found, image.ground_truth)
        _, accepted_right = judge(result.accepted, image.ground_truth)
        true_boxes, boxes = true_boxes + len(image.ground_truth), boxes + len(result.accepted)
        right += int(accepted_right.sum())
        queued_right += int(is_right.sum()) - int(accepted_right.sum())
    return Quality(true_boxes=true_boxes, boxes=boxes, right=right, queued_right=max(0, queued_right))


def mean_average_precision(
    name: str, opinion: Opinion, images: Iterable[ReviewedImage], taxonomy: Taxonomy
) -> float:
    """Return the mAP50 of one annotator by its raw scores; places without a class do not count."""
    from distill.evaluation.evaluate import metrics_of  # imports torch

    compared = [
        (
            _detections(opinion.named(name, one.answers.get(name, ()), one.size_hw_px), taxonomy),
            _detections(one.ground_truth, taxonomy),
        )
        for one in images
    ]
    return metrics_of(compared, taxonomy.classes).map50


def _detections(regions: Sequence[Region], taxonomy: Taxonomy) -> Detections:
    return as_detections([one for one in regions if not is_proposal(one)], taxonomy.class_id)


class Change(BaseModel):
    """Say how an accepted set differs from the one before.

    Attributes:
        kept: boxes that are in both, at an overlap of 0.5.
        added, removed: boxes that are in one alone.
    """

    model_config = ConfigDict(frozen=True)

    kept: int = 0
    added: int = 0
    removed: int = 0

    def plus(self, before: Sequence[Region], after: Sequence[Region]) -> Change:
        """Add the change of one image."""
        _, found_again = judge(after, before, is_strict=True)
        kept = int(found_again.sum())
        return Change(
            kept=self.kept + kept,
            added=self.added + len(after) - kept,
            removed=self.removed + len(before) - kept,
        )

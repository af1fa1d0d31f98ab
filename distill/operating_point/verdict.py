"""Decide, at the thresholds that ship, whether a detector is better than the one it was trained from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import comb, floor

from distill.core.value import FiniteValue
from distill.labels.checks.sufficiency import too_little
from distill.operating_point.choose import thresholds_under_budget
from distill.operating_point.reports import ImageReports, ThresholdCounts, counts_at, found_defects
from distill.settings.tables import OperatingPoint
from edge.core.counted import counted

CHANCE = 0.1
"""Differences that chance alone makes as often as this are said to be no proof."""


class Verdict(FiniteValue):
    """Say at which thresholds a detector works and what it gives there.

    Attributes:
        thresholds: per class name.
        after: counts of the trained detector; of cross-validation each part at thresholds that were chosen
            on the other parts.
        before: of the detector that training started from, at its own thresholds, on the same images; None
            without one.
        chance: how often chance alone would make such a difference in defects found (two-sided sign test);
            None without a detector before.
        is_cross_validated: whether no image was trained on by the detector that judged it, nor its
            threshold chosen on it.
    """

    thresholds: dict[str, float]
    after: ThresholdCounts
    before: ThresholdCounts | None = None
    chance: float | None = None
    is_cross_validated: bool = False

    @property
    def is_better(self) -> bool:
        """Whether more defects are found at no more false positives; true without a detector before."""
        if self.before is None:
            return True
        is_quieter = self.after.false_positives <= self.before.false_positives
        return self.after.true_positives > self.before.true_positives and is_quieter


def verdict_on(
    folds: Sequence[Sequence[ImageReports]],
    before: Sequence[ImageReports] | None,
    thresholds_before: Mapping[str, float],
    settings: OperatingPoint,
) -> Verdict:
    """Choose thresholds and compare.

    Args:
        folds: reports of the trained detectors, by part; a single part is judged by its own thresholds.
        before: of the detector that training started from, on the same images in the same order.
        thresholds_before: its thresholds; the default ones without such a detector.
    """
    images = [image for fold in folds for image in fold]
    counts_before = None if before is None else counts_at(thresholds_before, before)
    permitted = settings.false_positives_per_image * len(images)
    budget = max(floor(permitted), counts_before.false_positives if counts_before else 0)
    thresholds = thresholds_under_budget(images, budget, thresholds_before)
    per_fold = [
        _without(folds, number, budget, thresholds_before) if len(folds) > 1 else thresholds
        for number in range(len(folds))
    ]
    after = _added([counts_at(mine, fold) for mine, fold in zip(per_fold, folds, strict=True)])
    found = [
        defect for mine, fold in zip(per_fold, folds, strict=True) for defect in found_defects(mine, fold)
    ]
    chance = None
    if before is not None:
        chance = sign_test(found, found_defects(thresholds_before, before))
    return Verdict(
        thresholds=thresholds,
        after=after,
        before=counts_before,
        chance=chance,
        is_cross_validated=len(folds) > 1,
    )


def sign_test(ours: Sequence[bool], theirs: Sequence[bool]) -> float:
    """Return how often chance makes such a difference between two detectors, or a greater one.

    Args:
        ours, theirs: whether each defect was found, in the same order.
    """
    only_ours = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    only_theirs = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    differing, fewer = only_ours + only_theirs, min(only_ours, only_theirs)
    tail = sum(comb(differing, number) for number in range(fewer + 1))
    return min(1.0, 2 * tail / float(2**differing))


def remarks(verdict: Verdict, mm_per_px: float | None) -> Iterator[str]:
    """Say what the numbers cannot tell, and why."""
    before, after = verdict.before, verdict.after
    if before is not None and verdict.is_better and verdict.chance is not None and verdict.chance > CHANCE:
        are = "is" if after.defects == 1 else "are"
        yield (
            f"{counted(after.defects, 'defect')} {are} too few to tell: chance alone makes such a "
            f"difference in {100 * verdict.chance:.0f} of 100 comparisons"
        )
    boxes = {name: total for name, (total, _) in after.found.items()}
    yield from too_little(boxes, after.clean_images, mm_per_px)


def _without(
    folds: Sequence[Sequence[ImageReports]], number: int, budget: int, before: Mapping[str, float]
) -> dict[str, float]:
    """Choose thresholds on all parts but one, under their fraction of the budget."""
    others = [image for index, fold in enumerate(folds) if index != number for image in fold]
    total = len(others) + len(folds[number])
    return thresholds_under_budget(others, floor(budget * len(others) / total), before)


def _added(parts: Sequence[ThresholdCounts]) -> ThresholdCounts:
    names = dict.fromkeys(name for part in parts for name in part.found)
    return ThresholdCounts(
        found={
            name: (
                sum(part.found.get(name, (0, 0))[0] for part in parts),
                sum(part.found.get(name, (0, 0))[1] for part in parts),
            )
            for name in names
        },
        named=sum(part.named for part in parts),
        false_positives=sum(part.false_positives for part in parts),
        false_positives_on_clean=sum(part.false_positives_on_clean for part in parts),
        images=sum(part.images for part in parts),
        clean_images=sum(part.clean_images for part in parts),
    )

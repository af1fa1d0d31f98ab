"""Choose a score threshold per class, so that most defects are found under a budget of false positives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from distill.labels.checks.sufficiency import LEAST_BOXES
from distill.operating_point.reports import LEAST_SCORE, ImageReports

STEP: Final = 0.001
"""Thresholds stand so far above the false positive that they keep out."""

HIGHEST: Final = 0.95


@dataclass(frozen=True, slots=True)
class _OfClass:
    """What one class gives at each number of false positives let through.

    Attributes:
        false_scores: falling.
        hits: (score, defects) of the reports that point at defects; a defect is (image, number).
    """

    false_scores: tuple[float, ...]
    hits: tuple[tuple[float, frozenset[tuple[int, int]]], ...]

    def bar(self, let_through: int) -> float:
        """Return the score of the best false positive that is kept out; `LEAST_SCORE` if there is none."""
        return self.false_scores[let_through] if let_through < len(self.false_scores) else LEAST_SCORE

    def least_needed(self, bar: float) -> float | None:
        """Return the lowest score above a bar that a defect found there needs; None if none is found."""
        best: dict[tuple[int, int], float] = {}
        for score, defects in self.hits:
            if score > bar:
                best.update({defect: max(score, best.get(defect, 0.0)) for defect in defects})
        return min(best.values(), default=None)

    def found(self, let_through: int) -> frozenset[tuple[int, int]]:
        """Return the defects found above that bar."""
        bar = self.bar(let_through)
        return frozenset().union(*(defects for score, defects in self.hits if score > bar))


def thresholds_under_budget(
    images: Sequence[ImageReports],
    budget: int,
    before: Mapping[str, float],
) -> dict[str, float]:
    """Choose thresholds for all classes together.

    First no false positive is let through at all; the budget is then spent where it finds most defects that
    are not found yet. Between the false positives kept out and the defects found, a threshold is the
    middle, drawn towards the threshold before: the fewer boxes the class has, the more;
    `LEAST_BOXES` weigh as much. It never goes below the bar that the budget sets.

    Args:
        images: reports of detectors that were not trained on the image.
        budget: false positives permitted on these images.
        before: thresholds to start from, for every class.
    Returns:
        A threshold per class of `before`.
    """
    classes = {name: _of_class(images, name) for name in before}
    let_through = _spent(classes, budget)
    boxes = {name: sum(image.truth.count(name) for image in images) for name in before}
    return {
        name: _threshold(of, let_through[name], before[name], boxes[name] / (boxes[name] + LEAST_BOXES))
        for name, of in classes.items()
    }


def _of_class(images: Sequence[ImageReports], name: str) -> _OfClass:
    mine = [
        (report.score, frozenset((index, number) for number in report.defects))
        for index, image in enumerate(images)
        for report in image.reports
        if report.class_name == name
    ]
    false_scores = sorted((score for score, defects in mine if not defects), reverse=True)
    return _OfClass(tuple(false_scores), tuple((score, defects) for score, defects in mine if defects))


def _spent(classes: Mapping[str, _OfClass], budget: int) -> dict[str, int]:
    """Spend the budget greedily: the most new defects per false positive first; nothing for no gain."""
    let_through = dict.fromkeys(classes, 0)
    while (left := budget - sum(let_through.values())) > 0:
        found = frozenset().union(*(of.found(let_through[name]) for name, of in classes.items()))
        offers = [
            (len(of.found(let_through[name] + more) - found) / more, -more, name)
            for name, of in classes.items()
            for more in range(1, min(left, len(of.false_scores) - let_through[name]) + 1)
        ]
        gain, less, name = max(offers, default=(0.0, 0, ""))
        if gain <= 0:
            break
        let_through[name] -= less
    return let_through


def _threshold(of: _OfClass, let_through: int, before: float, own_weight: float) -> float:
    bar = of.bar(let_through) + STEP
    needed = of.least_needed(bar)
    own = before if needed is None else (bar + needed) / 2
    drawn = own_weight * own + (1 - own_weight) * before
    return round(min(max(drawn, bar), max(bar, HIGHEST)), 4)

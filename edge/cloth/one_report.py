"""Make one report of one defect, whatever classes a detector gives its parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from edge.cloth.defects import MOST_PIECES, TOUCH_MM, ClothDefect, joined_kind, largest_seen
from edge.core.components import components
from edge.core.detections import UNCLASSIFIED

REACH_MM = TOUCH_MM / 2
"""The jitter of a box's edge: sides that are nearer are the same."""

MOSTLY = 0.5
"""What lies within a larger one, widened by `TOUCH_MM`, by this ratio of its area is part of it: see
docs/benchmarks/demo.md."""

LEAST_RATIO = 0.5
"""A box that scores less than this ratio of another one's score does not contain it: it says too little."""

LINE_RATIO = 3.0
"""Length over breadth from which a defect is a line along a yarn."""

YARN_GAP_MM = 50.0
"""A detector loses a missing yarn for so long where it hardly shows: gaps within one yarn were 10 to 42 mm
long on simulated rolls (docs/benchmarks/demo.md)."""

LEAST_MM2 = 1e-6


def reports(defects: Sequence[ClothDefect]) -> list[ClothDefect]:
    """Make one report of what is one defect.

    Args:
        defects: of which those of one class are merged already.
    Returns:
        As many or fewer; in which order they were given changes nothing but the order of the reports.
    """
    return [one_report([defects[one] for one in group]) for group in groups(defects)]


def groups(defects: Sequence[ClothDefect]) -> list[list[int]]:
    """Return the positions of what is one defect, each with its others, in the order of the first.

    Lines of one class that follow on each other along one yarn are pieces of it. A defect of another class
    that lies mostly within a larger one is part of it; two that merely touch, or a yarn that crosses a
    wrinkle, stay two. What is unclassified belongs to the one that it touches and overlaps most, and to
    those of the same class that it touches. What has become one is compared again, until nothing changes.
    """
    grouped = [[number] for number in range(len(defects))]
    while len(grouped) > 1:
        merged = [one_report([defects[one] for one in group]) for group in grouped]
        labels = components(len(merged), _pairs(merged))
        if len(np.unique(labels)) == len(merged):
            break
        grouped = [
            sorted(one for number in np.flatnonzero(labels == label) for one in grouped[number])
            for label in np.unique(labels)
        ]
    return grouped


def is_part(one: ClothDefect, other: ClothDefect) -> bool:
    """Tell whether two defects of different classes are one, as `groups` says."""
    if one.class_name == other.class_name:
        return False
    if UNCLASSIFIED in (one.class_name, other.class_name):
        return one.touches(other)
    if not one.touches(other):
        return False
    small, large = sorted((one, other), key=_area_mm2)
    if large.score < LEAST_RATIO * small.score:
        return False
    return _shared_mm2(small, large) >= MOSTLY * _area_mm2(small)


def is_same_yarn(one: ClothDefect, other: ClothDefect) -> bool:
    """Tell whether two lines of one class lie along one yarn, with at most `YARN_GAP_MM` between them."""
    if one.class_name != other.class_name:
        return False
    reach_m, gap_m = REACH_MM / 1000, YARN_GAP_MM / 1000
    if _runs_along(one) and _runs_along(other):
        apart_m = max(one.start_m, other.start_m) - min(one.end_m, other.end_m)
        sides_mm = (one.left_mm - other.left_mm, one.right_mm - other.right_mm)
        return apart_m <= gap_m and max(map(abs, sides_mm)) <= REACH_MM
    if _runs_across(one) and _runs_across(other):
        apart_mm = max(one.left_mm, other.left_mm) - min(one.right_mm, other.right_mm)
        ends_m = (one.start_m - other.start_m, one.end_m - other.end_m)
        return apart_mm <= YARN_GAP_MM and max(map(abs, ends_m)) <= reach_m
    return False


def waits_mm(defect: ClothDefect) -> float:
    """Return how much cloth behind a complete defect may show that it goes on."""
    return YARN_GAP_MM if _runs_along(defect) else 0.0


def _runs_along(defect: ClothDefect) -> bool:
    return (defect.end_m - defect.start_m) * 1000 >= LINE_RATIO * (defect.right_mm - defect.left_mm)


def _runs_across(defect: ClothDefect) -> bool:
    return defect.right_mm - defect.left_mm >= LINE_RATIO * (defect.end_m - defect.start_m) * 1000


def one_report(group: Sequence[ClothDefect]) -> ClothDefect:
    """Make one report of the parts of a defect.

    It lies around all of them and has the highest score. Its name is that of the class whose parts have
    the greatest area, each weighted with its score: a strong box on the end of a crease does not name the
    crease. What is unclassified names nothing where a detector has a name.

    Args:
        group: at least one.
    """
    if len(group) == 1:
        return group[0]
    weights: dict[str, float] = defaultdict(float)
    for part in _parts(group):
        weights[part.class_name] += part.score * max(_area_mm2(part), LEAST_MM2)
    named = sorted(set(weights) - {UNCLASSIFIED}) or [UNCLASSIFIED]
    name = max(named, key=lambda one: weights[one])
    best = max((one for one in group if one.class_name == name), key=_rank)
    return replace(
        best,
        score=max(one.score for one in group),
        start_m=min(one.start_m for one in group),
        end_m=max(one.end_m for one in group),
        left_mm=min(one.left_mm for one in group),
        right_mm=max(one.right_mm for one in group),
        pieces=tuple(sorted(_few(_parts(group)), key=_rank)),
        seen=best.seen or next((one.seen for one in sorted(group, key=_rank) if one.seen), None),
        kind=joined_kind([one for one in group if one.class_name == name]),
        appearance=largest_seen(group),
    )


def _pairs(defects: Sequence[ClothDefect]) -> Iterator[tuple[int, int]]:
    for i, j in combinations(range(len(defects)), 2):
        if is_same_yarn(defects[i], defects[j]):
            yield i, j
    named = [number for number, one in enumerate(defects) if one.class_name != UNCLASSIFIED]
    for i, j in combinations(named, 2):
        if is_part(defects[i], defects[j]):
            yield i, j
    for number, one in enumerate(defects):
        if one.class_name != UNCLASSIFIED:
            continue
        near = [other for other in named if is_part(one, defects[other])]
        if near:
            owner = max(near, key=lambda other: (_shared_mm2(one, defects[other]), _rank(defects[other])))
            name = defects[owner].class_name
            yield from ((number, other) for other in near if defects[other].class_name == name)


def _parts(group: Iterable[ClothDefect]) -> list[ClothDefect]:
    return [part for one in group for part in (one.pieces or (one,))]


def _few(parts: list[ClothDefect]) -> list[ClothDefect]:
    """Return the parts; one rectangle for each class where they are too many."""
    if len(parts) <= MOST_PIECES:
        return parts
    around: dict[str, ClothDefect] = {}
    for part in parts:
        known = around.get(part.class_name)
        around[part.class_name] = part if known is None else replace(known.joined(part), pieces=())
    return list(around.values())


def _area_mm2(defect: ClothDefect) -> float:
    return sum(part.area_mm2 for part in defect.pieces or (defect,))


def _shared_mm2(small: ClothDefect, large: ClothDefect) -> float:
    """Return how much of one defect lies within another one, widened."""
    around = large.pieces or (large,)
    return sum(max(_overlap_mm2(part, other) for other in around) for part in small.pieces or (small,))


def _overlap_mm2(part: ClothDefect, other: ClothDefect) -> float:
    reach_m = TOUCH_MM / 1000
    along_m = min(part.end_m, other.end_m + reach_m) - max(part.start_m, other.start_m - reach_m)
    across_mm = min(part.right_mm, other.right_mm + TOUCH_MM) - max(part.left_mm, other.left_mm - TOUCH_MM)
    return max(0.0, along_m) * 1000 * max(0.0, across_mm)


def _rank(defect: ClothDefect) -> tuple[float | str, ...]:
    """Order defects, the same way whatever order they came in."""
    return (
        defect.score, defect.start_m, defect.left_mm, defect.end_m, defect.right_mm, defect.class_name,
    )  # fmt: skip

"""Decide when to stop the machine: a pure policy over frames. It knows no clock and no machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

from edge.cloth.defects import TOUCH_MM, ClothDefect
from edge.cloth.grading import points_of_length
from edge.config.stop import StopRule, StopSettings
from edge.core.counted import counted

HOUR_S = 3600.0

MOST_REMEMBERED = 1000
"""Detections of a class kept to be confirmed; the oldest go first. Bounds memory on cloth in
tatters, and is ten times what a rule may ask for."""

SAME_MM = TOUCH_MM / 2
"""The jitter of a box's edge: what a second look at the same cloth finds so near to what the first look
found is the same defect. Two that are further apart stay two, as in one look."""

HeldBack = Literal["rate", "distance"]


@dataclass(frozen=True, slots=True)
class BlockOnRoll:
    """Hold the detections of one frame, in metres of the camera.

    Attributes:
        start_m, end_m: where its own lines begin and end.
        found: its detections on these lines, in any order.
        defects: the defects these belong to, as far as they are known: growing, or just complete.
    """

    start_m: float
    end_m: float
    found: Sequence[ClothDefect]
    defects: Sequence[ClothDefect] = ()


@dataclass(frozen=True, slots=True)
class StopDecision:
    """Hold a reason to stop the machine.

    Attributes:
        at_m: end of what was found.
        reason: for a person to read.
        evidence: what confirmed it, in the order of the roll.
        held_back: why the machine is not to be stopped all the same; None if it is.
    """

    at_m: float
    reason: str
    evidence: tuple[ClothDefect, ...]
    held_back: HeldBack | None


class StopPolicy:
    """Decide block by block. The mode plays no part: in shadow it decides exactly as it would in earnest.

    Cloth that passes again, because it ran back or stands, decides nothing. What led to a stop does not
    lead to another one. A defect that several frames show, because they overlap or because it lies across
    their border, is one detection: that of the frame that showed it first.

    Args:
        settings: the policy.
        class_names: of the model; each has the default rule if the settings name none.
        earlier_stops_s: monotonic times of stops in the last hour, by an earlier run; in order.
    """

    def __init__(
        self, settings: StopSettings, class_names: Sequence[str], earlier_stops_s: Sequence[float] = ()
    ) -> None:
        self._settings = settings
        self._rules: Mapping[str, StopRule] = settings.classes or {name: StopRule() for name in class_names}
        self._remembered: dict[str, list[ClothDefect]] = {name: [] for name in self._rules}
        self._front_m: float | None = None
        self._reached_m = -inf
        self._used_up_m = 0.0
        self._last_stop_m: float | None = None
        self._stops_s: deque[float] = deque(earlier_stops_s)

    @property
    def stops_s(self) -> tuple[float, ...]:
        """When it decided to stop, as far as that counts."""
        return tuple(self._stops_s)

    def following(
        self,
        settings: StopSettings,
        class_names: Sequence[str],
        at_m: float,
        stops_s: Sequence[float] | None = None,
    ) -> StopPolicy:
        """Return the policy of another article, from a place on.

        Args:
            settings, class_names: as of the constructor.
            at_m: nearer to it than `after_start_m` nothing is stopped.
            stops_s: stops that count for it; None for all up to now.
        """
        policy = StopPolicy(settings, class_names, self._stops_s if stops_s is None else stops_s)
        policy._front_m, policy._last_stop_m = self._front_m, self._last_stop_m
        policy._reached_m = self._reached_m
        policy._used_up_m = max(self._used_up_m, at_m + settings.after_start_m)
        return policy

    @property
    def reach_m(self) -> float:
        """How far back what was found may still be evidence, in metres."""
        return max(rule.within_m for rule in self._rules.values())

    def decide(self, block: BlockOnRoll, now_s: float) -> StopDecision | None:
        """Take in a block, in the order of capture.

        Args:
            block: what it shows.
            now_s: monotonic time.
        Returns:
            None if nothing new is confirmed.
        """
        if self._front_m is None:
            self._used_up_m = block.start_m + self._settings.after_start_m
        elif block.start_m <= self._front_m:
            return None
        self._front_m = block.start_m
        confirmed = [one for name in sorted(self._rules) for one in self._confirmed(name, block)]
        self._reached_m = max(self._reached_m, block.end_m)
        if not confirmed:
            return None
        evidence = tuple(sorted({piece for _, pieces in confirmed for piece in pieces}, key=_place))
        at_m = max(piece.end_m for piece in evidence)
        held_back = self._held_back(at_m, now_s)
        if held_back is None:
            self._note_stop(at_m, now_s)
        return StopDecision(at_m, "; ".join(reason for reason, _ in confirmed), evidence, held_back)

    def _confirmed(self, name: str, block: BlockOnRoll) -> Iterator[tuple[str, list[ClothDefect]]]:
        """Yield each reason of a class, with what it rests on."""
        rule = self._rules[name]
        if self._take_in(name, rule, block):
            recent = [one for one in self._remembered[name] if self._is_recent(one, rule)]
            close = _within(recent, rule)
            if close:
                spread_m = close[-1].start_m - close[0].start_m
                yield f"{counted(len(close), 'detection')} of {name} within {spread_m:.2f} m", close
        for defect in sorted(block.defects, key=_place):
            if defect.class_name == name and self._runs_on(defect, rule, block):
                length_mm = (defect.end_m - defect.start_m) * 1000
                yield f"{name} runs on for {length_mm:.0f} mm", [defect]

    def _take_in(self, name: str, rule: StopRule, block: BlockOnRoll) -> bool:
        """Remember the detections of a class; True if one counts, or goes on with one that did."""
        past_m = block.start_m - rule.within_m
        earlier = [one for one in self._remembered[name] if one.end_m >= past_m]
        new: list[ClothDefect] = []
        changed = False
        for one in sorted((one for one in block.found if one.class_name == name), key=_place):
            index = self._seen_before(one, earlier)
            if index is not None:
                earlier[index], changed = earlier[index].joined(one), True
            elif self._counts(one, rule, block):
                new.append(one)
        self._remembered[name] = sorted([*earlier, *new], key=_place)[-MOST_REMEMBERED:]
        return changed or bool(new)

    def _seen_before(self, found: ClothDefect, earlier: Sequence[ClothDefect]) -> int | None:
        """Return which detection of an earlier frame this one is part of; None for none.

        Only what begins on lines that were seen before, or where they end, can be.
        """
        if found.start_m > self._reached_m + SAME_MM / 1000:
            return None
        return next((index for index, one in enumerate(earlier) if one.touches(found, SAME_MM)), None)

    def _counts(self, found: ClothDefect, rule: StopRule, block: BlockOnRoll) -> bool:
        if found.score < rule.least_score or found.start_m < self._used_up_m:
            return False
        whole = [one for one in block.defects if one.has_part(found)]
        size_mm = max(map(_size_mm, [found, *whole]))
        return size_mm >= rule.least_mm and points_of_length(size_mm) >= rule.least_points

    def _is_recent(self, found: ClothDefect, rule: StopRule) -> bool:
        return found.start_m >= max(self._used_up_m, (self._front_m or 0.0) - rule.within_m)

    def _runs_on(self, defect: ClothDefect, rule: StopRule, block: BlockOnRoll) -> bool:
        if rule.running_mm is None or defect.score < rule.least_score or defect.end_m <= block.start_m:
            return False
        size_mm = _size_mm(defect)
        fresh_mm = (defect.end_m - max(defect.start_m, self._used_up_m)) * 1000
        severe = size_mm >= rule.least_mm and points_of_length(size_mm) >= rule.least_points
        return severe and fresh_mm >= rule.running_mm

    def _held_back(self, at_m: float, now_s: float) -> HeldBack | None:
        if self._last_stop_m is not None and at_m - self._last_stop_m < self._settings.apart_m:
            return "distance"
        while self._stops_s and now_s - self._stops_s[0] >= HOUR_S:
            self._stops_s.popleft()
        return "rate" if len(self._stops_s) >= self._settings.most_per_hour else None

    def _note_stop(self, at_m: float, now_s: float) -> None:
        self._stops_s.append(now_s)
        self._last_stop_m = self._used_up_m = at_m


def own_pieces(pieces: Sequence[ClothDefect], start_m: float) -> list[ClothDefect]:
    """Keep what reaches into the own lines of a frame, cut at the first of them: what `--detections` has.

    Args:
        pieces: in metres of the camera; those on lines carried over lie before the frame.
        start_m: where its own lines begin.
    """
    return [
        one if one.start_m >= start_m else replace(one, start_m=start_m)
        for one in pieces
        if one.end_m > start_m
    ]


def _within(found: Sequence[ClothDefect], rule: StopRule) -> list[ClothDefect]:
    """Return the last detections that begin close enough together, if they are enough; else nothing.

    Args:
        found: in the order of the roll.
    """
    for last in range(len(found) - 1, rule.times - 2, -1):
        end_m = found[last].start_m
        close = [one for one in found[: last + 1] if one.start_m >= end_m - rule.within_m]
        if len(close) >= rule.times:
            return close
    return []


def _size_mm(defect: ClothDefect) -> float:
    """Return the longer side of the rectangle around a defect."""
    return max((defect.end_m - defect.start_m) * 1000, defect.right_mm - defect.left_mm)


def _place(defect: ClothDefect) -> tuple[Any, ...]:
    """Return what orders defects along the roll, the same way whatever order they came in."""
    return (
        defect.start_m, defect.left_mm, defect.end_m, defect.right_mm, defect.class_name, defect.score,
    )  # fmt: skip

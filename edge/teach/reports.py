"""Count reports of clean cloth as a run would, and set the levels that a budget of them permits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.cameras.protocol import FramePosition
from edge.cloth.defects import ClothDefect, cloth_from_frame
from edge.cloth.merger import DefectMerger
from edge.cloth.strips import on_own_lines
from edge.core.detections import Detections
from edge.reference.watch import NEAR_RATIO
from edge.teach.calibration import TAIL, Tail, level_of, tail_of
from edge.teach.detector_scores import (
    least_thresholds,
    logit,
    most_thresholds,
    score_tail,
    thresholds_at,
)
from edge.teach.looks import LEAST_LEVEL, JudgedStrip

Floats = NDArray[np.float64]

APART_M: Final = 1000.0
"""Images without a position are placed so far from each other that nothing in two of them is merged."""

CLASS: Final = "report"

RANKED: Final = 3
"""Times the values of the tail, or the false alarms allowed: so many pieces are merged to reports."""

LEAST_FIT: Final = 1e-3
"""Of a fit distance: images that are all alike have none."""

LEAST_RANKED: Final = 16
"""Of fewer places nobody can tell whether one stands out."""

FAR: Final = 4.0
"""Mean excesses beyond what its rank makes usual; one place in fifty goes so far by chance."""

FAR_GAP: Final = 10.0
"""Times the scale of the tail, from which on a gap between neighbours, times its rank, parts two kinds of
places: by chance in 1 of 100 tails that are exponential, normal or log-normal."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Levels of both models, set together.

    Attributes:
        levels: channel of the reference -> level.
        score_thresholds: class of the detector -> threshold.
        places: reports of the clean cloth, those that came nearest to an alarm first.
        fit_distance: greatest one of the strips.
        near: ratio to its level that `NEAR_RATIO` of the strips exceed.
    """

    levels: dict[str, float]
    score_thresholds: dict[str, float]
    places: tuple[NearAlarm, ...]
    fit_distance: float
    near: float


@dataclass(frozen=True, slots=True)
class NearAlarm:
    """Locate clean cloth that came near to an alarm.

    Attributes:
        strip: its number in the spool.
        box_xyxy_px: in pixels of the frame.
        beyond: its surprise above the level; an alarm if it is greater than 0.
    """

    strip: int
    box_xyxy_px: tuple[float, float, float, float]
    beyond: float


def calibrate(
    judged: Sequence[JudgedStrip], own_thresholds: Mapping[str, float], allowed: float
) -> Calibration:
    """Set the levels of the reference and the thresholds of the detector under one budget.

    Args:
        judged: strips in the order of the cloth, at least one.
        own_thresholds: class name -> threshold of the detector's bundle, in the order of its classes.
        allowed: false alarms that the budget allows on all of them together.
    """
    channels = _channel_tails(judged)
    classes = _class_tails(judged, tuple(own_thresholds))
    pieces = [_pieces(one, channels, classes, own_thresholds) for one in judged]
    reports = _merged(judged, _rarest(pieces, ceil(RANKED * max(TAIL, allowed))))
    values = np.array([report.score for report in reports]) if reports else np.zeros(1)
    level = level_of(values, len(judged), allowed)
    levels = {name: max(LEAST_LEVEL, tail.value_at(level)) for name, tail in channels.items()}
    return Calibration(
        levels,
        thresholds_at(level, classes, own_thresholds, _most(judged, own_thresholds)),
        _places(reports, judged, level),
        max(LEAST_FIT, *(one.look.fit_distance or 0.0 for one in judged)),
        _near(judged, levels),
    )


def _near(judged: Sequence[JudgedStrip], levels: Mapping[str, float]) -> float:
    """Return the ratio to its level that `NEAR_RATIO` of the strips reach: an order statistic."""
    ratios = sorted(max(one.look.maxima[name] / levels[name] for name in levels) for one in judged)
    return max(LEAST_LEVEL, ratios[min(len(ratios) - 1, ceil((1 - NEAR_RATIO) * len(ratios)))])


def _channel_tails(judged: Sequence[JudgedStrip]) -> dict[str, Tail]:
    """Estimate the tail of each channel: of blocks of the width, so that eight images suffice for one."""
    names = judged[0].look.maxima
    return {
        name: tail_of(np.concatenate([one.look.block_maxima[name] for one in judged])) for name in names
    }


def _class_tails(judged: Sequence[JudgedStrip], names: Sequence[str]) -> dict[str, Tail]:
    tails = {}
    for number, name in enumerate(names):
        best = [_best_score(one.strip.found, number) for one in judged]
        tails[name] = score_tail(np.array(best, np.float64))
    return tails


def _most(judged: Sequence[JudgedStrip], own_thresholds: Mapping[str, float]) -> dict[str, float]:
    seen = {
        name: max(
            float(one.strip.found.scores[one.strip.found.class_ids == number].max(initial=0))
            for one in judged
        )
        for number, name in enumerate(own_thresholds)
    }
    return most_thresholds(own_thresholds, seen, len(judged))


def _best_score(found: Detections, class_id: int) -> float:
    scores = found.scores[found.class_ids == class_id]
    return float(logit(scores.max())) if len(scores) else float("nan")


def _pieces(
    one: JudgedStrip,
    channels: Mapping[str, Tail],
    classes: Mapping[str, Tail],
    own_thresholds: Mapping[str, float],
) -> Detections:
    """Return what both models see on a strip, with their surprise in place of scores."""
    parts = [_regions(one, channels), _detections(one.strip.found, classes, own_thresholds)]
    boxes = np.concatenate([part[0] for part in parts]).astype(np.float32).reshape(-1, 4)
    values = np.concatenate([part[1] for part in parts]).astype(np.float32)
    return Detections(boxes, values, np.zeros(len(values), np.int64))


def _regions(one: JudgedStrip, channels: Mapping[str, Tail]) -> tuple[Floats, Floats]:
    """Return boxes and surprise of the regions on a strip's own lines.

    The best region has the greatest value of the strip in the channel that stands out most; the others have
    as much of it as they have of the best one's ratio.
    """
    look = one.look
    if not len(look.regions):
        return np.zeros((0, 4)), np.zeros(0)
    top = {name: float(tail.surprise(np.array(look.maxima[name]))) for name, tail in channels.items()}
    best = max(top, key=lambda name: top[name])
    parts = look.regions.ratios.astype(np.float64) / float(look.regions.ratios[0])
    values = channels[best].surprise(parts * look.maxima[best])
    in_frame = Detections(
        look.regions.boxes_xyxy_px, values.astype(np.float32), np.zeros(len(values), np.int64)
    ).moved(0, -one.strip.carried_lines)
    own = on_own_lines(in_frame)
    return own.boxes_xyxy_px.astype(np.float64), own.scores.astype(np.float64)


def _detections(
    found: Detections, classes: Mapping[str, Tail], own_thresholds: Mapping[str, float]
) -> tuple[Floats, Floats]:
    """Return boxes and surprise of detections that some threshold could report."""
    names = tuple(classes)
    least = least_thresholds(own_thresholds)
    kept = [
        (box, float(classes[names[class_id]].surprise(logit(np.array(score)))))
        for box, score, class_id in zip(
            found.boxes_xyxy_px, found.scores.tolist(), found.class_ids.tolist(), strict=True
        )
        if score >= least[names[class_id]]
    ]
    return np.array([box for box, _ in kept]).reshape(-1, 4), np.array([value for _, value in kept])


def _rarest(pieces: Sequence[Detections], most: int) -> list[Detections]:
    """Keep the pieces that a run could come to report: what is usual would tie them all together."""
    values = np.sort(np.concatenate([found.scores for found in pieces]))[::-1]
    least = values[min(most, len(values)) - 1] if len(values) else 0.0
    return [found.take(found.scores >= least) for found in pieces]


def _merged(judged: Sequence[JudgedStrip], pieces: Sequence[Detections]) -> list[ClothDefect]:
    """Merge pieces to reports, across strips and models; their score is the greatest surprise."""
    merger = DefectMerger()
    reports: list[ClothDefect] = []
    for one, found in zip(judged, pieces, strict=True):
        number = one.strip.number
        position = one.strip.position or FramePosition(number * APART_M, 1.0, 1.0)
        placed = cloth_from_frame(found, position, (CLASS,), number)
        reports += merger.add(placed, position.along_m)
    return reports + merger.finish()


def _places(
    reports: Sequence[ClothDefect], judged: Sequence[JudgedStrip], level: float
) -> tuple[NearAlarm, ...]:
    strips = {one.strip.number for one in judged}
    found = [
        NearAlarm(report.seen.frame_id, report.seen.box_xyxy_px, report.score - level)
        for report in sorted(reports, key=lambda report: -report.score)
        if report.seen is not None and report.seen.frame_id in strips
    ]
    return tuple(found)


def standing_out(places: Sequence[NearAlarm]) -> int:
    """Count the first places that stand far out of the tail of the others: they may be defects."""
    beyond = np.array([place.beyond for place in places])
    if len(beyond) < LEAST_RANKED:
        return 0
    return max(_beyond_the_tail(beyond), _before_a_gap(beyond))


def _beyond_the_tail(beyond: NDArray[np.float64]) -> int:
    """Count what lies beyond the tail of the others: few places, that may be at any distance."""
    high, low = len(beyond) // 8, len(beyond) // 2
    scale = max(1e-9, float(beyond[high] - beyond[low]) / np.log((low + 1) / (high + 1)))
    usual = beyond[high] + scale * np.log((high + 1) / np.arange(1, high + 1))
    far = np.flatnonzero(beyond[:high] - usual > FAR * scale)
    return int(far[-1]) + 1 if len(far) else 0


def _before_a_gap(beyond: NDArray[np.float64]) -> int:
    """Count what a wide gap parts from the others: up to half of the places.

    Of an exponential tail each gap between neighbours, times its rank, has the scale of the tail (Renyi
    1953); the median of the gaps does not mind the defects.
    """
    ranks = np.arange(1, len(beyond) * 2 // 3)
    gaps = ranks * (beyond[: len(ranks)] - beyond[1 : len(ranks) + 1])
    scale = max(1e-9, float(np.median(gaps)) / np.log(2))
    wide = np.flatnonzero(gaps[: len(beyond) // 2] > FAR_GAP * scale)
    return int(wide[-1]) + 1 if len(wide) else 0

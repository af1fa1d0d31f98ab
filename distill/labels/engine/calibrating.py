"""Calibrate each annotator, and all of them together, on the reviewed split.

Annotators are calibrated on one half of the reviewed groups and the fused scores on the other, because a
score that was fitted on an image looks better there than it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from distill.labels.engine.calibration import (
    LEAST_SAMPLES,
    Calibration,
    IsotonicCalibration,
    calibrated,
    fit_calibration,
)
from distill.labels.engine.opinion import Answers, Opinion
from distill.labels.engine.proposals import as_the_ground_truth_has_it
from distill.labels.engine.registry import ANNOTATORS
from distill.labels.engine.reliability import RIGHT_RULE, expected_calibration_error, judge
from distill.labels.engine.settings import EngineSettings
from distill.labels.engine.triage import Band, Triage
from distill.labels.sets.annotations import Region
from distill.labels.sets.naming import Namer
from edge.core.counted import of_all
from edge.core.detections import UNCLASSIFIED
from edge.core.errors import DatasetError

LEAST_RIGHT_BOXES = 5
"""Of a class on the reviewed split, below which its thresholds are those of the settings."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReviewedImage:
    """Hold what annotators say of an image that a person has looked at.

    Attributes:
        ground_truth: what the person says.
        group: roll or strip, or the name of the image.
    """

    answers: Answers
    ground_truth: tuple[Region, ...]
    size_hw_px: tuple[int, int]
    group: str


class CalibrationError(BaseModel):
    """Compare scores with what is true, before and after a calibration, on images it was not fitted on.

    Attributes:
        boxes: how many were compared; 0 leaves both errors without meaning.
        before, after: expected calibration error, in [0, 1].
    """

    model_config = ConfigDict(frozen=True)

    boxes: int
    before: float
    after: float


class Calibrated(BaseModel):
    """Hold what was learnt on the reviewed split.

    Attributes:
        annotators: calibration by annotator.
        fused: of the scores of the fusion; None takes them as they are.
        weights: fraction of an annotator's boxes that was right.
        bands: by class.
        errors: by annotator, and of `fused`.
        notes: what could not be learnt, a line each.
    """

    model_config = ConfigDict(frozen=True)

    annotators: dict[str, Calibration] = {}
    fused: Calibration | None = None
    weights: dict[str, float] = {}
    bands: dict[str, Band] = {}
    errors: dict[str, CalibrationError] = {}
    notes: tuple[str, ...] = ()


def opinion_of(settings: EngineSettings, namer: Namer, learnt: Calibrated) -> Opinion:
    """Return how answers become one opinion under these settings; bands of the settings win."""
    return Opinion(
        namer=namer,
        fusion=settings.fusion_of(learnt.weights),
        triage=Triage({**learnt.bands, **settings.bands}, settings.band, settings.least_side_mm),
        calibrators=learnt.annotators,
        final=learnt.fused or float,
    )


def calibrate(
    images: Sequence[ReviewedImage], settings: EngineSettings, namer: Namer, classes: Sequence[str]
) -> Calibrated:
    """Learn how far scores can be believed, and from where a class is accepted.

    Args:
        images: of the reviewed split, not those that an annotator was taught on.
        settings: whose annotators are calibrated.
        namer: brings words to the taxonomy.
        classes: of the taxonomy.
    """
    halves = _halves(images)
    learnt, plain = Calibrated(), opinion_of(settings, namer, Calibrated())
    notes: list[str] = []
    for name in (annotator.name for annotator in settings.annotators):
        parts = [_judged_annotator(plain, name, half) for half in halves]
        learnt = _with_annotator(learnt, name, parts, notes)
    judged = [_judged_fused(opinion_of(settings, namer, learnt), half) for half in halves]
    learnt = _with_fused(learnt, judged[1], notes)
    by_class = _by_class(opinion_of(settings, namer, learnt), images)
    bands = {}
    for label in classes:
        band = _band(*by_class.get(label, (np.zeros(0), np.zeros(0, bool))), settings)
        if band is None:
            notes.append(f"{label}: too few right boxes on the reviewed split, thresholds of the settings")
        else:
            bands[label] = band
    if not all(ANNOTATORS[annotator.kind].names_classes for annotator in settings.annotators):
        bands[UNCLASSIFIED] = Band(accept=1.0, reject=settings.worth_a_look)
    return learnt.model_copy(update={"bands": bands, "notes": tuple(notes)})


def _halves(images: Sequence[ReviewedImage]) -> tuple[list[ReviewedImage], list[ReviewedImage]]:
    """Split images by group, in turn."""
    groups = sorted({image.group for image in images})
    first = set(groups[::2])
    return (
        [image for image in images if image.group in first],
        [image for image in images if image.group not in first],
    )


def _judged_annotator(opinion: Opinion, name: str, images: Iterable[ReviewedImage]) -> tuple[Floats, Bools]:
    return _joined(
        judge(as_the_ground_truth_has_it(_said_by(opinion, name, one), one.ground_truth), one.ground_truth)
        for one in images
    )


def _said_by(opinion: Opinion, name: str, image: ReviewedImage) -> Sequence[Region]:
    return opinion.named(name, image.answers.get(name, ()), image.size_hw_px)


def _judged_fused(opinion: Opinion, images: Iterable[ReviewedImage]) -> tuple[Floats, Bools]:
    return _joined(judge(opinion.fused(one.answers, one.size_hw_px), one.ground_truth) for one in images)


def _joined(parts: Iterable[tuple[Floats, Bools]]) -> tuple[Floats, Bools]:
    listed = list(parts)
    if not listed:
        return np.zeros(0), np.zeros(0, bool)
    scores, right = zip(*listed, strict=True)
    return np.concatenate(scores), np.concatenate(right)


def _with_annotator(
    learnt: Calibrated, name: str, halves: Sequence[tuple[Floats, Bools]], notes: list[str]
) -> Calibrated:
    """Fit on the first half; the error is measured on each half by a fit on the other."""
    _, right = _joined(halves)
    weights = {**learnt.weights, name: float(right.mean()) if len(right) else 0.0}
    learnt = learnt.model_copy(update={"weights": weights})
    if len(right) >= LEAST_SAMPLES and right.min() == right.max():
        return _with_constant(learnt, name, right, notes)
    try:
        fitted = fit_calibration(*halves[0])
    except DatasetError as error:
        notes.append(f"{name}: scores stay as they are. {error.problem}")
        return learnt
    annotators = {**learnt.annotators, name: fitted}
    errors = {**learnt.errors, name: _error(halves)}
    return learnt.model_copy(update={"annotators": annotators, "errors": errors})


def _with_constant(learnt: Calibrated, name: str, right: Bools, notes: list[str]) -> Calibrated:
    """Give all boxes of an annotator that is always right, or never, one score (Laplace's rule)."""
    fraction = (int(right.sum()) + 1) / (len(right) + 2)
    notes.append(
        f"{name}: {of_all(int(right.sum()), len(right), 'box')} on the reviewed split right, each counts "
        f"{fraction:.3f} ({RIGHT_RULE})"
    )
    constant = IsotonicCalibration(scores=(0.5,), shares=(fraction,))
    return learnt.model_copy(update={"annotators": {**learnt.annotators, name: constant}})


def _with_fused(learnt: Calibrated, judged: tuple[Floats, Bools], notes: list[str]) -> Calibrated:
    try:
        fitted = fit_calibration(*judged)
    except DatasetError as error:
        notes.append(f"fused scores stay as they are. {error.problem}")
        return learnt
    every_other = [tuple(values[start::2] for values in judged) for start in (0, 1)]
    errors = {**learnt.errors, "fused": _error(every_other)}  # type: ignore[arg-type]
    return learnt.model_copy(update={"fused": fitted, "errors": errors})


def _error(halves: Sequence[tuple[Floats, Bools]]) -> CalibrationError:
    """Measure each half with what was fitted on the other."""
    before, after, rights = [], [], []
    for (fit_scores, fit_right), (scores, right) in (halves, halves[::-1]):
        try:
            fitted = fit_calibration(fit_scores, fit_right)
        except DatasetError:
            continue
        before.append(scores)
        after.append(calibrated(fitted, scores))
        rights.append(right)
    if not rights:
        return CalibrationError(boxes=0, before=0.0, after=0.0)
    right = np.concatenate(rights)
    return CalibrationError(
        boxes=len(right),
        before=round(expected_calibration_error(np.concatenate(before), right), 4),
        after=round(expected_calibration_error(np.concatenate(after), right), 4),
    )


def _by_class(opinion: Opinion, images: Iterable[ReviewedImage]) -> Mapping[str, tuple[Floats, Bools]]:
    """Judge the final regions of each class."""
    judged: dict[str, list[tuple[Floats, Bools]]] = {}
    for image in images:
        fused = [
            replace(region, score=opinion.final(region.score or 0.0))
            for region in opinion.fused(image.answers, image.size_hw_px)
        ]
        for label in {region.label for region in fused}:
            mine = [region for region in fused if region.label == label]
            judged.setdefault(label, []).append(judge(mine, image.ground_truth))
    return {label: _joined(parts) for label, parts in judged.items()}


def _band(scores: Floats, right: Bools, settings: EngineSettings) -> Band | None:
    """Choose where a class is accepted and where it is rejected; None for too few right boxes."""
    if int(right.sum()) < LEAST_RIGHT_BOXES:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(right[order])
    precision = hits / np.arange(1, len(ranked) + 1)
    is_last_of_its_score = np.append(ranked[1:] < ranked[:-1], True)
    good = is_last_of_its_score & (precision >= settings.accept_precision) & (hits >= LEAST_RIGHT_BOXES)
    accept = float(ranked[np.flatnonzero(good)[-1]]) if good.any() else 1.0
    return Band(accept=accept, reject=min(settings.worth_a_look, accept))

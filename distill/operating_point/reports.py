"""List what a detector reports on whole images, as on the edge device, and which defects it points at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from distill.core.value import FiniteValue, Value
from distill.data.dataset import LabelledImage, read_labelled
from distill.evaluation.hits import points_at
from distill.evaluation.working_point import TorchBackend
from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.inference.inspector import Inspector
from edge.inference.single_image import on_single_cloth

LEAST_SCORE = 0.05
"""Reports below this score are not listed: no threshold goes lower."""


class Report(FiniteValue):
    """Hold one detection on a whole image, tiles merged.

    Attributes:
        class_name: as the detector names it.
        score: in [0, 1].
        defects: positions, in the image's ground truth, of the defects that it points at; empty for a
            false positive.
    """

    class_name: str
    score: float
    defects: tuple[int, ...]


class ImageReports(Value):
    """Hold the detections of a detector on one image.

    Attributes:
        name: of the file.
        truth: class name of each defect on it.
        reports: from `LEAST_SCORE` on.
    """

    name: str
    truth: tuple[str, ...]
    reports: tuple[Report, ...]


class ThresholdCounts(Value):
    """Count what a detector reports at given thresholds.

    Attributes:
        found: class name -> (defects, defects that a report of whatever class points at).
        named: found defects that a report of their own class points at.
        false_positives: reports that point at no defect, on all images.
        false_positives_on_clean: those on the images without a defect.
        images, clean_images: how many were looked at.
    """

    found: dict[str, tuple[int, int]]
    named: int
    false_positives: int
    false_positives_on_clean: int
    images: int
    clean_images: int

    @property
    def true_positives(self) -> int:
        return sum(found for _, found in self.found.values())

    @property
    def defects(self) -> int:
        return sum(defects for defects, _ in self.found.values())


def reports_on(
    module: nn.Module, contract: ModelContract, images: Sequence[LabelledImage], mm_per_px: float | None
) -> list[ImageReports]:
    """Inspect whole images with all thresholds at `LEAST_SCORE`; off the cloth nothing is reported.

    Args:
        module: in eval mode, on the processor.
        mm_per_px: of the images; None if not known.
    Raises:
        DatasetError: if an image cannot be decoded.
    """
    lowered = contract.with_thresholds(dict.fromkeys(contract.class_names, LEAST_SCORE))
    inspector = Inspector(TorchBackend(module), lowered)
    listed = []
    for labelled in images:
        image = read_labelled(labelled.path)
        (found,) = on_single_cloth(inspector, image, (inspector.inspect(image, mm_per_px),), mm_per_px)
        pointed = points_at(found.boxes_xyxy_px, labelled.boxes_xyxy_px(image))
        listed.append(_listed(labelled, found, pointed, contract.class_names))
    return listed


def counts_at(thresholds: Mapping[str, float], images: Sequence[ImageReports]) -> ThresholdCounts:
    """Count true and false positives at these thresholds, per class name."""
    found: dict[str, tuple[int, int]] = dict.fromkeys(thresholds, (0, 0))
    named = false_positives = on_clean = 0
    for image in images:
        kept = _kept(image, thresholds)
        pointed = {number for report in kept for number in report.defects}
        rightly = {
            number
            for report in kept
            for number in report.defects
            if report.class_name == image.truth[number]
        }
        for number, name in enumerate(image.truth):
            total, hit = found.get(name, (0, 0))
            found[name] = (total + 1, hit + (number in pointed))
        named += len(rightly)
        wrong = sum(not report.defects for report in kept)
        false_positives += wrong
        on_clean += 0 if image.truth else wrong
    clean = sum(not image.truth for image in images)
    return ThresholdCounts(
        found=found,
        named=named,
        false_positives=false_positives,
        false_positives_on_clean=on_clean,
        images=len(images),
        clean_images=clean,
    )


def found_defects(thresholds: Mapping[str, float], images: Sequence[ImageReports]) -> list[bool]:
    """Tell of every defect, image by image, whether a report of whatever class points at it."""
    found = []
    for image in images:
        pointed = {number for report in _kept(image, thresholds) for number in report.defects}
        found += [number in pointed for number in range(len(image.truth))]
    return found


def _kept(image: ImageReports, thresholds: Mapping[str, float]) -> list[Report]:
    return [report for report in image.reports if report.score >= thresholds[report.class_name]]


def _listed(
    labelled: LabelledImage,
    found: Detections,
    pointed: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    names: Sequence[str],
) -> ImageReports:
    reports = tuple(
        Report(
            class_name=names[int(class_id)],
            score=round(float(score), 4),
            defects=tuple(np.flatnonzero(row).tolist()),
        )
        for score, class_id, row in zip(found.scores, found.class_ids, pointed, strict=True)
    )
    truth = tuple(names[int(class_id)] for class_id in labelled.class_ids)
    return ImageReports(name=labelled.path.name, truth=truth, reports=reports)

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from distill.checkpoint import load_detector
from distill.evaluation.working_point import TorchBackend
from distill.labels.annotators.detector_annotator import DetectorAnnotator, DetectorSettings
from edge.core.errors import ConfigError
from edge.inference.inspector import Inspector
from tests.unit.distill.tiny import write_untrained


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return load_detector(write_untrained(tmp_path_factory.mktemp("detector") / "best.pt"))


def cloth(seed, size_hw=(64, 160)):
    return np.random.default_rng(seed).integers(40, 210, size_hw, dtype=np.uint8)


def with_thresholds(detector, threshold):
    contract = detector.contract.with_thresholds(dict.fromkeys(detector.contract.class_names, threshold))
    return type(detector)(detector.module, contract, detector.checkpoint, detector.file_digest)


def rows(regions):
    return [(r.label, r.box_xyxy_px, r.score) for r in regions]


def middle_score(detector, image):
    every = DetectorAnnotator(detector, settings=DetectorSettings(score_floor=0, max_regions=10**6))
    return float(np.median([region.score for region in every.annotate([image])[0]]))


@pytest.mark.parametrize("size_hw", [(64, 64), (64, 160), (150, 200), (20, 30)], ids=str)
def test_above_the_working_threshold_it_says_what_the_camera_box_says(detector, size_hw):
    image = cloth(1, size_hw)
    threshold = middle_score(detector, image)
    working = with_thresholds(detector, threshold)
    inspector = Inspector(TorchBackend(working.module), working.contract)
    expected = inspector.inspect(image)
    settings = DetectorSettings(score_floor=threshold / 2, max_regions=10**6)
    regions = DetectorAnnotator(working, settings=settings).annotate([image])[0]
    sure = [region for region in regions if region.score >= threshold]
    names = [working.contract.class_names[class_id] for class_id in expected.class_ids]
    assert len(expected) > 0
    assert sorted(rows(sure)) == sorted(
        zip(names, map(tuple, expected.boxes_xyxy_px.tolist()), expected.scores.tolist(), strict=True)
    )


def test_unsure_boxes_come_too_but_not_as_duplicates_of_sure_ones(detector):
    image = cloth(2)
    threshold = middle_score(detector, image)
    working = with_thresholds(detector, threshold)
    regions = DetectorAnnotator(working, settings=DetectorSettings(max_regions=10**6)).annotate([image])[0]
    sure = [region for region in regions if region.score >= threshold]
    unsure = [region for region in regions if region.score < threshold]
    assert sure
    assert unsure
    for region in unsure:
        assert all(iou(region, other) <= 0.5 + 1e-6 for other in sure if other.label == region.label)


def iou(a, b):
    x1, y1 = (max(a.box_xyxy_px[i], b.box_xyxy_px[i]) for i in (0, 1))
    x2, y2 = (min(a.box_xyxy_px[i], b.box_xyxy_px[i]) for i in (2, 3))
    shared = max(0.0, x2 - x1) * max(0.0, y2 - y1)
    areas = [(q[2] - q[0]) * (q[3] - q[1]) for q in (a.box_xyxy_px, b.box_xyxy_px)]
    return shared / (sum(areas) - shared) if shared else 0.0


def test_scores_fall_and_nothing_is_below_the_floor_or_beyond_the_limit(detector):
    image = cloth(3)
    every = DetectorAnnotator(detector, settings=DetectorSettings(score_floor=0)).annotate([image])[0]
    scores = [region.score for region in every]
    assert len(every) >= 3
    assert scores == sorted(scores, reverse=True)
    assert {region.annotator for region in every} == {"detector"}
    assert {region.label for region in every} <= set(detector.contract.class_names)
    best = DetectorAnnotator(detector, settings=DetectorSettings(score_floor=0, max_regions=2))
    assert best.annotate([image])[0] == every[:2]
    none = DetectorAnnotator(detector, settings=DetectorSettings(score_floor=1))
    assert none.annotate([image]) == [()]


def test_an_answer_does_not_depend_on_the_other_images(detector):
    images = [cloth(4), cloth(5, (64, 64)), np.dstack([cloth(6)] * 3)]
    annotator = DetectorAnnotator(detector)
    together = annotator.annotate(images)
    assert together == [annotator.annotate([image])[0] for image in images]
    assert all(together)
    assert annotator.annotate([]) == []


def test_a_known_scale_changes_how_images_are_looked_at(detector):
    image = cloth(7, (128, 128))
    assert detector.contract.mm_per_px == pytest.approx(0.2)
    as_it_is = DetectorAnnotator(detector).annotate([image])
    assert DetectorAnnotator(detector, mm_per_px=0.2).annotate([image]) == as_it_is
    assert DetectorAnnotator(detector, mm_per_px=0.4).annotate([image]) != as_it_is


def test_a_scale_too_far_from_the_detectors_is_refused_at_once(detector):
    with pytest.raises(ConfigError, match="too far apart"):
        DetectorAnnotator(detector, mm_per_px=9.0)


@pytest.mark.parametrize(
    "values", [{"score_floor": 1.5}, {"batch": 0}, {"max_regions": 0}, {"floor": 0.1}], ids=str
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        DetectorSettings(**values)

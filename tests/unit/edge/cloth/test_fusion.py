"""Detector and reference model make one report of one defect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edge.cloth.fusion import fuse
from edge.core.detections import Detections, joined_shape, no_detections, with_unclassified

CLASSES = with_unclassified(("wrinkle", "drop", "broken"))
UNCLASSIFIED = CLASSES.index("unclassified")


@dataclass(frozen=True)
class SeenRegions:
    boxes_xyxy_px: np.ndarray
    ratios: np.ndarray
    shapes: tuple[str, ...]


def regions(*rows):
    """Rows are (x1, y1, x2, y2, ratio, shape)."""
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return SeenRegions(boxes, np.array([row[4] for row in rows], np.float32), tuple(row[5] for row in rows))


def detections(*rows):
    """Rows are (x1, y1, x2, y2, score, class)."""
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[4] for row in rows], np.float32)
    return Detections(boxes, scores, np.array([CLASSES.index(row[5]) for row in rows], np.int64))


def reports(found, seen):
    return [
        (one["label"], one.get("shape"), one["box_xyxy_px"])
        for one in fuse(found, seen, UNCLASSIFIED).records(CLASSES)
    ]


def test_without_regions_the_detector_says_it_all():
    found = detections((10, 10, 20, 20, 0.9, "drop"))
    assert fuse(found, regions(), UNCLASSIFIED) is found


@pytest.mark.parametrize("shape", ["spot", "warp line", "weft line", "area"])
def test_what_only_the_reference_model_sees_is_unclassified_with_its_shape(shape):
    assert reports(no_detections(), regions((10, 10, 20, 40, 2.0, shape))) == [
        ("unclassified", shape, [10, 10, 20, 40])
    ]


def test_the_ratio_of_a_region_becomes_a_score_with_its_threshold_at_a_half():
    seen = regions((0, 0, 5, 5, 3.0, "spot"), (50, 0, 55, 5, 1.0, "spot"), (90, 0, 95, 5, 1e9, "spot"))
    assert_allclose(fuse(no_detections(), seen, UNCLASSIFIED).scores, [1.0, 0.75, 0.5], atol=1e-6)


def test_what_both_see_is_one_report_that_the_detector_names_with_its_exact_box():
    found = detections((100, 100, 120, 110, 0.7, "drop"))
    seen = regions((92, 94, 128, 118, 3.0, "spot"))
    assert reports(found, seen) == [("drop", None, [100, 100, 120, 110])]
    assert_allclose(fuse(found, seen, UNCLASSIFIED).scores, [0.75])


def test_a_long_line_of_which_the_detector_names_a_part_is_as_long_as_the_line():
    found = detections((500, 100, 540, 104, 0.7, "broken"))
    seen = regions((0, 96, 2048, 108, 2.0, "weft line"))
    assert reports(found, seen) == [("broken", None, [0, 100, 2048, 104])]


def test_parts_of_one_line_that_the_detector_names_apart_are_one_defect():
    found = detections((100, 100, 140, 104, 0.7, "broken"), (900, 100, 940, 104, 0.6, "broken"))
    seen = regions((0, 96, 2048, 108, 2.0, "weft line"))
    assert reports(found, seen) == [("broken", None, [0, 100, 2048, 104])]


def test_a_region_over_defects_of_two_classes_goes_to_the_one_it_fits_and_joins_none():
    found = detections((300, 0, 304, 224, 0.8, "broken"), (0, 90, 600, 150, 0.7, "wrinkle"))
    seen = regions((296, 0, 310, 224, 5.0, "warp line"), (0, 85, 610, 155, 5.0, "area"))
    assert sorted(reports(found, seen)) == [
        ("broken", None, [300, 0, 304, 224]),
        ("wrinkle", None, [0, 90, 600, 150]),
    ]


def test_regions_that_touch_are_one_defect_and_a_line_with_a_spot_on_it_is_a_line():
    seen = regions((10, 0, 14, 224, 2.0, "warp line"), (16, 100, 30, 114, 4.0, "spot"))
    assert reports(no_detections(), seen) == [("unclassified", "warp line", [10, 0, 30, 224])]


def test_lines_that_cross_are_two_defects():
    seen = regions((100, 0, 104, 224, 2.0, "warp line"), (0, 100, 400, 104, 3.0, "weft line"))
    assert len(reports(no_detections(), seen)) == 2


def test_a_region_beside_the_region_of_a_named_defect_belongs_to_it():
    found = detections((100, 100, 110, 110, 0.7, "drop"))
    seen = regions((100, 100, 112, 112, 2.0, "spot"), (110, 112, 160, 150, 2.0, "area"))
    assert reports(found, seen) == [("drop", None, [100, 100, 160, 150])]


def test_what_lies_apart_stays_apart():
    found = detections((0, 0, 10, 10, 0.7, "drop"))
    seen = regions((14.5, 0, 30, 10, 2.0, "spot"))
    assert [label for label, *_ in reports(found, seen)] == ["drop", "unclassified"]


@pytest.mark.parametrize(
    ("pieces", "shape"),
    [
        (["spot", "spot"], "spot"),
        (["spot", "weft line"], "weft line"),
        (["warp line", "weft line"], "area"),
        (["area", "warp line"], "area"),
        (["spot", None], None),
        ([], None),
    ],
)
def test_the_shape_of_what_consists_of_pieces(pieces, shape):
    assert joined_shape(pieces) == shape
    assert joined_shape(pieces[::-1]) == shape


def test_a_model_that_has_the_class_itself_does_not_get_it_twice():
    assert with_unclassified(("unclassified", "drop")) == ("unclassified", "drop")

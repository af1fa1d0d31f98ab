"""Confusion, curves, mistakes and the page of a run, on detections made by hand and in a browser."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.run_page import write_page
from distill.data.dataset import LabelledImage
from distill.data.tiles import TilePlan
from distill.evaluation.confusion import confusion_matrix
from distill.evaluation.cut_outs import WINDOW_PX, cut_out, window_around
from distill.evaluation.hits import points_at
from distill.evaluation.mistakes import false_positives, missed_defects
from distill.evaluation.precision_recall import precision_recall
from distill.evaluation.report import report_sections
from distill.evaluation.working_point import InspectedImage, working_point
from edge.core.contract import ModelContract, NoEnhancement, Tiles
from edge.core.detections import Detections, no_detections
from edge.core.errors import OutputError

NAMES = ("wrinkle", "drop", "broken")
THRESHOLDS = {"wrinkle": 0.5, "drop": 0.5, "broken": 0.5}


def said(*rows):
    """Rows of x1, y1, x2, y2, score, class id."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


GROUND_TRUTH = said((0, 0, 10, 10, 1, 0), (20, 20, 40, 40, 1, 1), (50, 0, 60, 60, 1, 2))
FOUND = said(
    (1, 0, 10, 10, 0.9, 0),  # right
    (20, 20, 40, 38, 0.8, 2),  # right place, wrong name
    (50, 0, 60, 55, 0.3, 2),  # right, below the threshold
    (5, 40, 15, 60, 0.7, 1),  # nothing there
)


def at(floor, found):
    return found.take(found.scores >= floor)


def inspected(found=FOUND, ground_truth=GROUND_TRUTH):
    return InspectedImage(0, at(0.5, found), found, ground_truth)


def test_each_defect_and_each_false_positive_is_counted_once():
    assert confusion_matrix([(at(0.5, FOUND), GROUND_TRUTH)], 3).tolist() == [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 1, 0, 0],
    ]


def test_the_name_of_its_own_class_counts_before_a_surer_one():
    twice = said((20, 20, 40, 38, 0.9, 2), (21, 20, 40, 40, 0.6, 1))
    assert confusion_matrix([(twice, said((20, 20, 40, 40, 1, 1)))], 3)[1].tolist() == [0, 1, 0, 0]


def test_a_report_beside_a_thin_defect_points_at_it():
    """Broken ends are a few pixels wide: no box of a network overlaps one by half."""
    end = said((100, 0, 103, 400, 1, 2))
    wide = said((98, 0, 112, 390, 0.9, 2))
    assert confusion_matrix([(wide, end)], 3)[2].tolist() == [0, 0, 1, 0]


boxes = st.builds(
    lambda x, y, w, h, score, kind: (x, y, x + w, y + h, score, kind),
    *[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2, st.floats(0, 1), st.integers(0, 2),
)  # fmt: skip


@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_rows_add_up_to_defects_and_the_last_to_false_positives(found, ground_truth):
    reported, truth = said(*found), said(*ground_truth)
    matrix = confusion_matrix([(reported, truth)], 3)
    assert matrix[:3].sum(axis=1).tolist() == [sum(row[5] == c for row in ground_truth) for c in range(3)]
    pointed = points_at(reported.boxes_xyxy_px, truth.boxes_xyxy_px)
    assert matrix[3].sum() == (~pointed.any(axis=1)).sum()
    assert matrix[:3, :3].sum() == pointed.any(axis=0).sum()


def test_curves_rise_in_recall_and_only_classes_that_are_there_have_one():
    two_classes = GROUND_TRUTH.take(GROUND_TRUTH.class_ids != 1)
    curves = precision_recall([(FOUND, two_classes), (no_detections(), no_detections())], NAMES)
    assert set(curves) == {"wrinkle", "broken"}
    broken = curves["broken"]
    assert broken.recall.tolist() == [0, 1]
    assert broken.precision.tolist() == [0, 0.5]
    assert precision_recall([(FOUND, no_detections())], NAMES) == {}


def test_the_worst_come_first_and_are_said_in_words():
    missed = missed_defects([inspected()], NAMES, THRESHOLDS)
    assert [mistake.caption for mistake in missed] == [
        "broken missed: the best candidate is broken 0.30, threshold 0.50"
    ]
    empty = [inspected(no_detections())]
    assert (
        missed_defects(empty, NAMES, THRESHOLDS)[0].caption == "wrinkle missed: no candidate at any score"
    )
    alarms = false_positives([inspected()], NAMES)
    assert [mistake.caption for mistake in alarms] == ["drop 0.70 where no defect is labelled"]


@pytest.mark.parametrize("box", [(0, 0, 9, 9), (490, 390, 500, 400), (250, 0, 253, 400)])
def test_a_window_shows_nothing_but_the_image_at_true_size(box):
    image = np.arange(400 * 500, dtype=np.uint32).view(np.uint8).reshape(400, 500, 4)[..., :3].copy()
    left, top, right, bottom = window_around(box, (400, 500))
    assert (right - left, bottom - top) == (WINDOW_PX, WINDOW_PX)
    shown = cut_out(image, (left, top, right, bottom), no_detections(), NAMES)
    assert (shown == image[top:bottom, left:right]).all()
    assert (window_around(box, (100, 90)))[2:] == (90, 100)


@pytest.fixture
def plan(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 64), 90, np.uint8))
    image = LabelledImage(tmp_path / "a.png", np.zeros((0, 4)), np.zeros(0, np.int64))
    contract = ModelContract(
        taxonomy_version=1, class_names=NAMES, input_size_hw_px=(64, 64), enhancement=NoEnhancement(),
        geometry=Tiles(overlap_px=0), score_thresholds=THRESHOLDS, source_digest="0" * 64,
    )  # fmt: skip
    return TilePlan([image], contract, None, 16), contract


def page_of(image, plan, contract):
    return "\n".join(report_sections([image], working_point([image], plan, contract, None), plan, contract))


def test_the_page_shows_ground_truth_beside_reports_and_counts_as_the_metrics_do(plan):
    page = page_of(inspected(), *plan)
    assert "2 of 3 defects found (1 under the right class), 1 false positive, on 1 image" in page
    assert (
        re.findall(r'data:image/png;base64,[^"]*" width="(\d+)" height="(\d+)"', page) == [("64", "64")] * 6
    )
    assert "broken missed" in page
    assert "http" not in page


def test_where_there_are_no_mistakes_a_sentence_says_so(plan):
    page = page_of(inspected(GROUND_TRUTH), *plan)
    assert "None: every defect of the validation split is found." in page
    assert "None: every report points at a defect." in page
    nothing = page_of(inspected(no_detections(), no_detections()), *plan)
    assert "No image of the validation split shows a defect." in nothing
    assert "0 of 0 defects found" in nothing


def test_images_are_those_of_the_cloth(plan):
    page = page_of(inspected(), *plan)
    data = re.search(r"data:image/png;base64,([^\"]*)", page).group(1)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert (image[45:, 20:45] == 90).all()


def test_a_name_with_markup_is_shown_and_not_run(tmp_path):
    write_page(tmp_path / "index.html", "<script>alert(1)</script>", [])
    assert "<script>" not in (tmp_path / "index.html").read_text()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "index.html").mkdir()
    with pytest.raises(OutputError, match="index"):
        write_page(tmp_path / "index.html", "run", [])

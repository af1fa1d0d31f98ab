"""Confusion, curves and the worst mistakes, on detections made by hand."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.dataset import LabelledImage
from distill.data.tiles import TilePlan
from distill.evaluation.confusion import confusion_matrix, working
from distill.evaluation.contact_sheet import CELL_PX, false_alarms, missed_defects
from distill.evaluation.precision_recall import precision_recall
from distill.evaluation.report import write_report
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


def test_each_defect_and_each_report_is_counted_once():
    reported = working(FOUND, NAMES, THRESHOLDS)
    assert reported.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert confusion_matrix([(reported, GROUND_TRUTH)], 3).tolist() == [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 1, 0, 0],
    ]


boxes = st.builds(
    lambda x, y, w, h, score, kind: (x, y, x + w, y + h, score, kind),
    *[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2, st.floats(0, 1), st.integers(0, 2),
)  # fmt: skip


@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_rows_add_up_to_defects_and_columns_to_reports(found, ground_truth):
    matrix = confusion_matrix([(said(*found), said(*ground_truth))], 3)
    assert matrix[:3].sum(axis=1).tolist() == [sum(row[5] == c for row in ground_truth) for c in range(3)]
    assert matrix[:, :3].sum(axis=0).tolist() == [sum(row[5] == c for row in found) for c in range(3)]


def test_curves_rise_in_recall_and_only_classes_that_are_there_have_one():
    two_classes = GROUND_TRUTH.take(GROUND_TRUTH.class_ids != 1)
    curves = precision_recall([(FOUND, two_classes), (no_detections(), no_detections())], NAMES)
    assert set(curves) == {"wrinkle", "broken"}
    broken = curves["broken"]
    assert broken.recall.tolist() == [0, 1]
    assert broken.precision.tolist() == [0, 0.5]
    assert precision_recall([(FOUND, no_detections())], NAMES) == {}


def test_the_worst_come_first():
    missed = missed_defects([(FOUND, GROUND_TRUTH)], NAMES, THRESHOLDS)
    assert [mistake.title for mistake in missed] == ["drop 0.00", "broken 0.30"]
    alarms = false_alarms([(FOUND, GROUND_TRUTH)], NAMES)
    assert [mistake.title for mistake in alarms] == ["broken 0.80", "drop 0.70"]


@pytest.fixture
def plan(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 64), 90, np.uint8))
    image = LabelledImage(tmp_path / "a.png", np.zeros((0, 4)), np.zeros(0, np.int64))
    contract = ModelContract(
        taxonomy_version=1, class_names=NAMES, input_size_hw_px=(64, 64), enhancement=NoEnhancement(),
        geometry=Tiles(overlap_px=0), score_thresholds=THRESHOLDS, source_digest="0" * 64,
    )  # fmt: skip
    return TilePlan([image], contract, None, 16), contract


@pytest.mark.parametrize(
    "pair", [(FOUND, GROUND_TRUTH), (no_detections(), no_detections())], ids=["some", "none"]
)
def test_all_files_are_written_and_show_what_is_there(tmp_path, plan, pair):
    write_report([pair], *plan, tmp_path / "report")
    counts = json.loads((tmp_path / "report/confusion.json").read_text())
    assert counts["names"] == [*NAMES, "nothing"]
    assert sum(map(sum, counts["true_by_reported"])) == (4 if len(pair[0]) else 0)
    misses = cv2.imread(str(tmp_path / "report/worst_misses.png"))
    cells = [misses[:, start : start + CELL_PX].any() for start in range(0, misses.shape[1], CELL_PX)]
    assert cells == ([True] * 2 + [False] * 4 if len(pair[0]) else [False] * 6)
    for name in ("confusion", "precision_recall", "false_alarms"):
        assert cv2.imread(str(tmp_path / f"report/{name}.png")) is not None


def test_a_place_that_cannot_be_written_is_named(tmp_path, plan):
    (tmp_path / "report").write_text("")
    with pytest.raises(OutputError, match="report"):
        write_report([], *plan, tmp_path / "report")

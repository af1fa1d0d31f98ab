"""One defect of several classes, or in several pieces along a yarn, is one report; two defects stay two."""

from __future__ import annotations

import numpy as np
import pytest

from edge.cloth.defects import MOST_PIECES, ClothDefect
from edge.cloth.grading import total_points
from edge.cloth.in_frame import one_each
from edge.cloth.merger import DefectMerger
from edge.cloth.one_report import YARN_GAP_MM, one_report, reports
from edge.cloth.recurring import OWN_SCORE, RECURS_M, Recurring
from edge.core.detections import Detections

CLASSES = ("wrinkle", "drop", "broken")


def defect(name, start_m, end_m, left_mm, right_mm, score=0.8, shape=None):
    return ClothDefect(name, score, start_m, end_m, left_mm, right_mm, shape=shape)


def told(found):
    return sorted((one.class_name, one.start_m, one.end_m, one.left_mm, one.right_mm) for one in found)


STAIN = (defect("drop", 1.0, 1.02, 100, 120, 0.9), defect("broken", 1.001, 1.021, 101, 119, 0.7))
CREASE = (defect("wrinkle", 0.8, 0.83, 24, 64, 0.92), defect("broken", 0.801, 0.806, 25, 36, 0.5))
TORN = (
    defect("wrinkle", 0.046, 0.055, 56, 70, 0.91),
    defect("wrinkle", 0.038, 0.043, 87, 93, 0.53),
    defect("broken", 0.028, 0.056, 56, 93, 0.77),
)


@pytest.mark.parametrize(
    ("parts", "name"),
    [(STAIN, "drop"), (CREASE, "wrinkle"), (TORN, "broken")],
    ids=["stain", "crease", "torn thread"],
)
def test_one_defect_of_several_classes_is_one_report_charged_once(parts, name):
    (report,) = reports(parts)
    assert report.class_name == name
    assert report.score == max(part.score for part in parts)
    assert (report.start_m, report.right_mm) == (
        min(part.start_m for part in parts),
        max(part.right_mm for part in parts),
    )
    assert total_points([report]) == 1 < total_points(parts)
    assert all(report.has_part(part) for part in parts)


@pytest.mark.parametrize(
    "pair",
    [
        (defect("broken", 0, 2.0, 300, 303), defect("wrinkle", 0.9, 0.96, 280, 340)),
        (defect("wrinkle", 0.9, 0.96, 280, 340), defect("drop", 0.94, 0.96, 341, 361)),
        (defect("drop", 1.0, 1.01, 100, 110), defect("drop", 1.02, 1.03, 100, 110)),
        (defect("wrinkle", 0.9, 0.96, 280, 340, 0.3), defect("drop", 0.93, 0.94, 300, 310, 0.9)),
    ],
    ids=["an end crosses a wrinkle", "a spot beside a wrinkle", "two of a class", "in a weak one"],
)
def test_two_defects_that_touch_stay_two(pair):
    assert told(reports(pair)) == told(pair)


def test_a_missing_end_that_begins_in_a_wrinkle_shows_at_its_end_that_it_is_one_of_its_own():
    merger, found = DefectMerger(), []
    wrinkle = defect("wrinkle", 0.0, 0.04, 280, 340)
    for strip in range(20):
        end = defect("broken", strip * 0.04, (strip + 1) * 0.04, 300, 303)
        found += merger.add([end, *([wrinkle] if not strip else [])], (strip + 1) * 0.04)
    found += merger.finish()
    assert [one.class_name for one in sorted(found, key=lambda one: one.end_m)] == ["wrinkle", "broken"]
    assert max(one.end_m for one in found) == pytest.approx(0.8)


def test_what_waits_for_a_defect_that_grows_is_part_of_what_grows():
    merger = DefectMerger()
    spot, line = defect("broken", 0.0, 0.01, 100, 110), defect("wrinkle", 0.0, 0.04, 90, 130)
    assert merger.add([spot, line], 0.04) == []
    assert merger.add([defect("wrinkle", 0.04, 0.08, 90, 130)], 0.08) == []
    assert spot in merger.growing
    (report,) = merger.add([], 1.0)
    assert (report.class_name, report.end_m, report.has_part(spot)) == ("wrinkle", 0.08, True)


@pytest.mark.parametrize(("gap_mm", "count"), [(YARN_GAP_MM - 1, 1), (YARN_GAP_MM + 1, 2)])
def test_pieces_along_one_yarn_are_one_defect_up_to_a_gap(gap_mm, count):
    second_m = 0.1 + gap_mm / 1000
    end = [defect("broken", 0, 0.1, 92, 95), defect("broken", second_m, second_m + 0.03, 92, 96)]
    pick = [defect("broken", 0, 0.002, 0, 100), defect("broken", 0, 0.002, 100 + gap_mm, 150 + gap_mm)]
    assert len(reports(end)) == len(reports(pick)) == count
    merger, found = DefectMerger(), []
    for piece in end:
        found += merger.add([piece], piece.end_m + 0.01)
    assert len(found + merger.finish()) == count


def test_spots_and_lines_of_other_yarns_are_not_pieces_of_a_line():
    line = defect("broken", 0, 0.1, 92, 95)
    for other in (
        defect("broken", 0.12, 0.13, 90, 100),
        defect("broken", 0.12, 0.2, 97, 100),
        defect("drop", 0.12, 0.2, 92, 95),
        defect("broken", 0.12, 0.122, 92, 120),
    ):
        assert len(reports([line, other])) == 2


def test_unclassified_belongs_to_the_named_one_that_it_fits_and_joins_no_two_classes():
    broken, wrinkle = defect("broken", 0, 0.3, 300, 303), defect("wrinkle", 0.1, 0.15, 200, 400)
    line = defect("unclassified", 0, 0.4, 299, 304, 0.9, "warp line")
    area = defect("unclassified", 0.09, 0.16, 195, 405, 0.9, "area")
    found = reports([line, area, broken, wrinkle])
    assert told(found) == [("broken", 0, 0.4, 299, 304), ("wrinkle", 0.09, 0.16, 195, 405)]
    assert [one.shape for one in found] == [None, None]


def test_unclassified_lines_that_cross_stay_two_on_the_roll():
    merger = DefectMerger()
    lines = [
        defect("unclassified", 0, 0.3, 100, 103, shape="warp line"),
        defect("unclassified", 0.1, 0.103, 0, 300, shape="weft line"),
    ]
    found = merger.add(lines, 0.3) + merger.finish()
    assert sorted(one.shape for one in found) == ["warp line", "weft line"]


def test_a_defect_of_very_many_pieces_keeps_a_rectangle_for_each_class():
    parts = [defect(name, n / 100, n / 100 + 0.01, 0, 10) for n in range(MOST_PIECES) for name in CLASSES]
    report = one_report(parts)
    assert sorted(piece.class_name for piece in report.pieces) == sorted(CLASSES)
    assert all(report.has_part(part) for part in parts)


def frame_of(*rows):
    table = np.array([row[:5] for row in rows], np.float32).reshape(-1, 5)
    ids = np.array([CLASSES.index(row[5]) for row in rows], np.int64)
    return Detections(table[:, :4], table[:, 4], ids)


def test_in_a_frame_a_box_mostly_within_a_larger_one_of_another_class_is_part_of_it():
    found = frame_of((100, 100, 160, 160, 0.9, "drop"), (110, 104, 150, 163, 0.7, "broken"))
    merged = one_each(found, (256, 2048))
    assert merged.records(CLASSES) == [
        {"label": "drop", "score": 0.9, "box_xyxy_px": [100.0, 100.0, 160.0, 163.0]}
    ]


@pytest.mark.parametrize(
    "end", [(300, 0, 304, 250, 0.7, "broken"), (300, 120, 304, 256, 0.7, "broken")], ids=["through", "ends"]
)
def test_a_line_that_runs_out_of_the_frame_is_left_to_the_roll(end):
    found = frame_of(end, (200, 0, 400, 256, 0.8, "wrinkle"))
    assert len(one_each(found, (256, 2048))) == 2


def test_in_a_frame_nothing_changes_where_there_is_nothing_to_merge():
    found = frame_of((0, 0, 10, 10, 0.9, "drop"), (50, 0, 60, 10, 0.9, "broken"))
    assert one_each(found, (256, 2048)) is found
    assert len(one_each(frame_of(), (256, 2048))) == 0


def passing(places, view_mm=400.0, length_m=20.0):
    """Let defects pass one after the other, with some cloth behind them."""
    recurring, reported = Recurring(), []
    for one in places:
        reported += recurring.sift([one], one.end_m, view_mm)
    reported += recurring.sift([], length_m, view_mm)
    return recurring, [*reported, *recurring.finish()]


def streak(times, apart_m=0.14, score=0.5, left_mm=209.0, right_mm=256.0):
    return [
        defect("broken", n * apart_m, n * apart_m + 0.005, left_mm + n % 2, right_mm - n % 2, score)
        for n in range(times)
    ]


def test_what_comes_again_and_again_at_the_same_ends_is_reported_once_and_counted():
    recurring, reported = passing(streak(10))
    assert told(reported) == told(streak(1))
    assert recurring.folded == 9
    began, ended = recurring.take_news()
    assert (began.times, began.has_ended) == (3, False)
    assert (ended.times, ended.has_ended, ended.end_m) == (10, True, pytest.approx(9 * 0.14 + 0.005))
    assert recurring.take_news() == []


@pytest.mark.parametrize(
    "places",
    [
        streak(2),
        streak(5, score=OWN_SCORE),
        streak(5, apart_m=RECURS_M + 0.1),
        streak(5, left_mm=10, right_mm=390),
        [defect("broken", n / 10, n / 10 + 0.01, n * 7.0, n * 7.0 + 20) for n in range(5)],
    ],
    ids=["twice is chance", "clear defects", "far apart", "picks across the cloth", "other ends"],
)
def test_what_is_a_defect_each_time_is_reported_each_time(places):
    recurring, reported = passing(places)
    assert told(reported) == told(places)
    assert (recurring.folded, recurring.news) == (0, [])


def test_what_came_twice_is_known_to_be_there_while_it_is_held():
    recurring = Recurring()
    first, second = streak(2)
    assert recurring.sift([first], 0.01, 400.0) == [first]
    assert recurring.sift([second], 0.2, 400.0) == []
    assert recurring.held == [second]
    assert recurring.sift([], 0.2 + RECURS_M, 400.0) == [second]
    assert recurring.held == []

from __future__ import annotations

import numpy as np
import pytest

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import MOST_PIECES, ClothDefect, cloth_from_frame, on_cloth
from edge.cloth.merger import DefectMerger
from edge.core.detections import Detections


def frame(frame_id, along_m=None, height=100):
    position = None if along_m is None else FramePosition(along_m, 1.0, 1.0)
    return Frame(frame_id, np.zeros((height, 10), np.uint8), 0.0, "test", position)


def defect(start_m, end_m, left=0.0, right=5.0, name="broken", score=0.9):
    return ClothDefect(name, score, start_m, end_m, left, right)


def test_pixels_become_metres_and_millimetres_from_the_selvedge():
    found = Detections(np.array([[30, 10, 40, 60]], np.float32), np.array([0.5], np.float32), np.array([1]))
    position = FramePosition(2.0, mm_per_px_along=0.5, mm_per_px_across=0.2, left_selvedge_px=20)
    (placed,) = cloth_from_frame(found, position, ("a", "b"))
    assert placed == ClothDefect("b", 0.5, 2.005, 2.03, 2.0, 4.0)


def test_what_lies_beside_the_cloth_is_no_defect():
    boxes = np.array([[0, 0, 8, 8], [10, 0, 30, 8], [90, 0, 96, 8]], np.float32)
    found = Detections(boxes, np.full(3, 0.5, np.float32), np.zeros(3, np.int64))
    position = FramePosition(0.0, 1.0, 1.0, left_selvedge_px=12, right_selvedge_px=90)
    assert on_cloth(found, position).boxes_xyxy_px.tolist() == [[10, 0, 30, 8]]
    assert len(on_cloth(found, FramePosition(0.0, 1.0, 1.0))) == len(on_cloth(found, None)) == 3


def test_a_broken_end_over_many_blocks_is_one_growing_defect():
    merger = DefectMerger()
    closed = []
    for block in range(50):
        closed += merger.add([defect(block * 0.1, block * 0.1 + 0.1)], block * 0.1 + 0.1)
    assert closed == []
    (whole,) = merger.add([], 5.2)
    assert (whole.start_m, whole.end_m) == (0.0, pytest.approx(5.0))


def test_a_piece_can_join_two_others():
    merger = DefectMerger()
    merger.add([defect(0, 0.1, 0, 10), defect(0, 0.1, 50, 60), defect(0.1, 0.11, 5, 55)], 0.112)
    assert [(d.left_mm, d.right_mm) for d in merger.finish()] == [(0, 60)]


def test_what_lies_beside_crossed_yarns_is_another_defect():
    merger = DefectMerger()
    merger.add([defect(0, 4, 0, 2), defect(2, 2.002, 0, 1800)], 0.0)
    spots = [defect(1.0, 1.01, 502, 512), defect(3.0, 3.01, 402, 412)]
    whole = merger.add([*spots, defect(3.9, 4.0, 0, 2)], 4.0) + merger.finish()
    assert sorted((d.left_mm, d.right_mm) for d in whole) == [(0, 1800), (402, 412), (502, 512)]
    crossed = max(whole, key=lambda d: d.right_mm)
    assert [piece.area_mm2 for piece in crossed.pieces] == [pytest.approx(3600), pytest.approx(8000)]
    assert not crossed.touches(defect(1.0, 1.01, 502, 512))
    assert crossed.touches(defect(2.004, 2.01, 502, 512))
    assert "pieces" not in crossed.as_json()


def test_a_stretch_in_tatters_is_kept_as_one_rectangle():
    steps = [defect(0.01 * n, 0.01 * n + 0.001, 12 * n, 12 * n + 8) for n in range(2 * MOST_PIECES)]
    (whole,) = DefectMerger(touch_mm=20.0).add(steps, 9.0)
    assert (whole.left_mm, whole.right_mm) == (0, 12 * (2 * MOST_PIECES - 1) + 8)
    assert len(whole.pieces) <= MOST_PIECES


def test_classes_and_distance_keep_defects_apart():
    merger = DefectMerger()
    merger.add([defect(0, 0.1), defect(0, 0.1, 10, 20, name="drop"), defect(0, 0.1, 100, 110)], 0.1)
    assert len(merger.finish()) == 3
    assert merger.finish() == []


def test_a_defect_seen_again_when_the_cloth_ran_back_is_one():
    merger = DefectMerger()
    closed = merger.add([defect(0.4, 0.45)], 1.0)
    closed += merger.add([defect(1.7, 2.0)], 2.0)
    closed += merger.add([defect(0.4, 0.45)], 1.0, goes_back=True)
    closed += merger.add([defect(1.7, 2.0)], 2.0)
    closed += merger.add([defect(2.0, 2.2)], 3.0)
    assert [(d.start_m, d.end_m) for d in closed] == [(0.4, 0.45), (1.7, 2.2)]
    assert merger.finish() == []


def test_what_lay_in_a_gap_is_a_defect_when_the_cloth_runs_back():
    merger = DefectMerger()
    merger.add([], 5.0)
    assert merger.add([defect(3.1, 3.2), defect(2.5, 2.6)], 4.0, [(3.0, 4.0)], goes_back=True) == []
    (found,) = merger.add([], 4.0)
    assert (found.start_m, found.end_m) == (3.1, 3.2)


def test_coverage_in_metres_counts_gaps_and_overlap_once():
    coverage = Coverage()
    for frame_id, along_m in [(0, 1.0), (1, 1.1), (2, 1.15), (4, 1.45)]:
        coverage.passed(frame(frame_id, along_m))
    assert coverage.metres_inspected == pytest.approx(0.35)
    assert coverage.gap_m == pytest.approx(0.2)
    assert coverage.fraction == pytest.approx(0.35 / 0.55)


def test_an_unreadable_image_of_a_roll_is_a_gap_as_long_as_the_others():
    coverage = Coverage()
    for frame_id, along_m in [(0, 0.0), (2, 0.1)]:
        coverage.passed(frame(frame_id, along_m))
    coverage.frames_unreadable = 1
    assert coverage.gap_m == pytest.approx(0.1)
    assert coverage.fraction == pytest.approx(2 / 3)


def test_coverage_in_frames_where_nobody_knows_metres():
    coverage = Coverage()
    assert coverage.fraction is None
    coverage.passed(frame(0))
    coverage.frames_dropped = 2
    coverage.frames_unreadable = 1
    assert coverage.fraction == 0.25
    assert not coverage.knows_metres

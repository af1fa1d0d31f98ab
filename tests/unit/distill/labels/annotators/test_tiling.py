from __future__ import annotations

from itertools import pairwise

from distill.labels.annotators.tiling import merge_regions, tiles_of, without_duplicates
from distill.labels.sets.annotations import Region
from edge.core.geometry import View


def region(label, box, score):
    return Region(label, box, score=score)


def test_one_defect_on_a_seam_becomes_one_region():
    views = (View(0, 0, 64, 64), View(48, 0, 112, 64))
    left = [region("broken", (40.0, 10.0, 64.0, 20.0), 0.6), region("drop", (2.0, 2.0, 9.0, 9.0), 0.9)]
    right = [region("broken", (0.0, 10.0, 30.0, 20.0), 0.8)]
    merged = merge_regions([left, right], views, 0.7)
    assert [(r.label, r.box_xyxy_px, r.score) for r in merged][1:] == [
        ("broken", (40.0, 10.0, 78.0, 20.0), 0.8)
    ]
    assert merged[0].label == "drop"


def test_doubles_go_and_other_labels_stay():
    regions = [region("a", (0.0, 0.0, 10.0, 10.0), 0.5), region("a", (0.0, 0.0, 10.0, 9.5), 0.7),
               region("b", (0.0, 0.0, 10.0, 10.0), 0.6)]  # fmt: skip
    assert [(r.label, r.score) for r in without_duplicates(regions, 0.7)] == [("a", 0.7), ("b", 0.6)]
    assert without_duplicates([], 0.7) == ()


def test_tiles_cover_a_strip():
    plan = tiles_of((256, 4096), 256, 32)
    assert plan[0].left_px == 0
    assert plan[-1].right_px == 4096
    assert all(b.left_px <= a.right_px - 32 for a, b in pairwise(plan))
    assert len(tiles_of((256, 4096), None, 32)) == 1

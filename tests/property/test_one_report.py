"""One defect is one report: order does not matter, nothing gets lost, and there are never more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.cloth.defects import ClothDefect
from edge.cloth.fusion import BLUR_PX, fuse
from edge.cloth.in_frame import one_each
from edge.cloth.merger import DefectMerger
from edge.cloth.one_report import groups, one_report, reports
from edge.core.detections import SHAPES, UNCLASSIFIED, Detections, with_unclassified
from tests.unit.edge.cloth.test_fusion import SeenRegions

CLASSES = with_unclassified(("wrinkle", "drop", "broken"))
LAST = CLASSES.index(UNCLASSIFIED)


def boxes(rng, count, reach=160.0):
    corner = rng.integers(0, reach, (count, 2))
    return np.concatenate([corner, corner + rng.integers(1, 60, (count, 2))], 1).astype(np.float32)


def scene(seed, detections, regions):
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, 10, detections).astype(np.float32) / 10
    found = Detections(boxes(rng, detections), scores, rng.integers(0, 3, detections))
    shapes = tuple(SHAPES[one] for one in rng.integers(0, 4, regions))
    return found, SeenRegions(boxes(rng, regions), rng.integers(1, 9, regions).astype(np.float32), shapes)


def rows(found):
    return sorted(map(str, found.records(CLASSES)))


scenes = st.builds(scene, st.integers(0, 2**32 - 1), st.integers(0, 8), st.integers(0, 10))


@given(scene=scenes, seed=st.integers(0, 1000))
def test_the_order_of_detections_and_regions_does_not_matter(scene, seed):
    found, seen = scene
    rng = np.random.default_rng(seed)
    order, other = rng.permutation(len(found)), rng.permutation(len(seen.ratios))
    shuffled = SeenRegions(
        seen.boxes_xyxy_px[other], seen.ratios[other], tuple(seen.shapes[one] for one in other)
    )
    assert rows(fuse(found.take(order), shuffled, LAST)) == rows(fuse(found, seen, LAST))


@given(scene=scenes)
def test_there_are_never_more_reports_and_each_class_that_was_named_stays(scene):
    found, seen = scene
    fused = fuse(found, seen, LAST)
    assert len(fused) <= len(found) + len(seen.ratios)
    assert set(found.class_ids.tolist()) == set(fused.class_ids.tolist()) - {LAST}
    assert [shape is None for shape in fused.shapes] == [one != LAST for one in fused.class_ids]


@given(scene=scenes)
def test_no_place_that_either_saw_is_lost(scene):
    found, seen = scene
    fused = fuse(found, seen, LAST)
    for box in found.boxes_xyxy_px:
        assert (
            ((fused.boxes_xyxy_px[:, :2] <= box[:2]) & (fused.boxes_xyxy_px[:, 2:] >= box[2:])).all(1).any()
        )
    for box in seen.boxes_xyxy_px:  # to its blur
        low, high = fused.boxes_xyxy_px[:, :2] - BLUR_PX, fused.boxes_xyxy_px[:, 2:] + BLUR_PX
        assert ((low <= box[:2]) & (high >= box[2:])).all(1).any()


@given(scene=scenes)
def test_what_is_merged_stays_as_it_is_where_the_reference_model_sees_no_more(scene):
    found, seen = scene
    fused = fuse(found, seen, LAST)
    none = SeenRegions(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
    assert rows(fuse(fused, none, LAST)) == rows(fused)


def cloth_defects(seed, count):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 120, (count, 2))
    size = rng.integers(1, 60, (count, 2)) // rng.integers(1, 12, (count, 2)) + 1
    names = [CLASSES[one] for one in rng.integers(0, 4, count)]
    return [
        ClothDefect(
            name,
            int(rng.integers(40, 100)) / 100,
            int(y) / 1000,
            int(y + height) / 1000,
            float(x),
            float(x + width),
            shape=SHAPES[int(rng.integers(0, 4))] if name == UNCLASSIFIED else None,
        )
        for name, (x, y), (width, height) in zip(names, corner, size, strict=True)
    ]


def told(found):
    rounded = (
        replace(one, score=round(one.score, 4), pieces=tuple(sorted(one.pieces, key=str))) for one in found
    )
    return sorted(map(str, rounded))


on_cloth = st.builds(cloth_defects, st.integers(0, 2**32 - 1), st.integers(0, 12))


@given(defects=on_cloth, seed=st.integers(0, 1000))
def test_on_the_roll_order_does_not_matter_and_there_are_never_more(defects, seed):
    order = np.random.default_rng(seed).permutation(len(defects))
    merged = reports(defects)
    assert told(reports([defects[one] for one in order])) == told(merged)
    assert told(reports(merged)) == told(merged)
    assert len(merged) <= len(defects)
    assert sum(len(one.pieces) or 1 for one in merged) == len(defects)


@given(defects=on_cloth)
def test_each_report_lies_around_its_parts_and_has_the_name_of_one(defects):
    for group in groups(defects):
        members = [defects[one] for one in group]
        report = one_report(members)
        named = {one.class_name for one in members} - {UNCLASSIFIED} or {UNCLASSIFIED}
        assert report.class_name in named
        assert report.score == max(one.score for one in members)
        assert all(report.has_part(one) for one in members)
        assert (report.shape is None) == (report.class_name != UNCLASSIFIED)


@given(defects=on_cloth, cut=st.integers(0, 12))
def test_complete_defects_come_out_once_whatever_they_wait_for(defects, cut):
    merger = DefectMerger()
    early, late = defects[:cut], defects[cut:]
    found = merger.add(early, 0.0) + merger.add(late, 0.0) + merger.add([], 10.0) + merger.finish()
    other = DefectMerger()
    assert told(other.add(defects, 0.0) + other.finish()) == told(found)
    assert len(found) <= len(defects)


@given(scene=scenes)
def test_in_a_frame_merging_across_classes_is_independent_of_order_and_never_gives_more(scene):
    found, _ = scene
    merged = one_each(found, (224, 224))
    assert rows(one_each(found.take(np.arange(len(found))[::-1]), (224, 224))) == rows(merged)
    assert len(merged) <= len(found)
    for box in found.boxes_xyxy_px:
        assert (
            ((merged.boxes_xyxy_px[:, :2] <= box[:2]) & (merged.boxes_xyxy_px[:, 2:] >= box[2:]))
            .all(1)
            .any()
        )

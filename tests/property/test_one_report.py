"""One defect is one report: order does not matter, nothing gets lost, and there are never more."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.cloth.fusion import BLUR_PX, fuse
from edge.detections import SHAPES, UNCLASSIFIED, Detections, with_unclassified
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

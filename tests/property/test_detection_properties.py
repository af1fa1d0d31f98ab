"""Suppression is idempotent, merging does not depend on order, and a contract survives the ONNX file."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.backends.onnxruntime import read_contract
from edge.core.contract import Clahe, GlobalEqualisation, Letterbox, NoEnhancement, Normalisation, Tiles
from edge.core.detections import Detections
from edge.core.geometry import iou_matrix, plan_tiles
from edge.inference.decode import merge_views, suppress_duplicates
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model

seeds = st.integers(0, 2**32 - 1)


def random_detections(rng, count, reach=60.0):
    corner = rng.uniform(0, reach, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (count, 2))], 1).astype(np.float32)
    scores = rng.permutation(np.linspace(0.1, 0.9, count)).astype(np.float32)
    return Detections(boxes, scores, rng.integers(0, 3, count))


def rows(found):
    return sorted(
        zip(found.boxes_xyxy_px.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    )


@given(seed=seeds, count=st.integers(0, 40), threshold=st.floats(0.1, 0.9))
def test_suppression_is_idempotent_and_leaves_no_duplicates(seed, count, threshold):
    kept = suppress_duplicates(random_detections(np.random.default_rng(seed), count), threshold)
    assert rows(suppress_duplicates(kept, threshold)) == rows(kept)
    same = kept.class_ids[:, None] == kept.class_ids[None]
    overlap = iou_matrix(kept.boxes_xyxy_px, kept.boxes_xyxy_px) * same - np.eye(len(kept))
    assert not len(kept) or overlap.max() <= threshold + 1e-3


@given(seed=seeds, frame=st.tuples(st.integers(64, 200), st.integers(64, 200)))
def test_merging_is_independent_of_the_order_of_tiles(seed, frame):
    rng = np.random.default_rng(seed)
    views = plan_tiles(frame, (64, 64), 24)
    parts = []
    for view in views:
        found = random_detections(rng, 3, reach=40.0)
        boxes = found.boxes_xyxy_px + np.array([view.left_px, view.top_px] * 2, np.float32)
        high = np.array([view.right_px, view.bottom_px] * 2, np.float32)
        parts.append(Detections(np.minimum(boxes, high), found.scores, found.class_ids))
    order = rng.permutation(len(views))
    merged = merge_views(parts, views)
    assert rows(merge_views([parts[i] for i in order], [views[i] for i in order])) == rows(merged)
    assert len(merged) <= sum(map(len, parts))
    everything = np.concatenate([part.boxes_xyxy_px for part in parts])
    assert (merged.boxes_xyxy_px.min(axis=0)[:2] == everything.min(axis=0)[:2]).all()
    assert (merged.boxes_xyxy_px.max(axis=0)[2:] == everything.max(axis=0)[2:]).all()


contracts = st.builds(
    bright_cell_contract,
    enhancement=st.one_of(
        st.builds(
            Clahe, clip_limit=st.floats(0.1, 90), grid_hw=st.tuples(st.integers(1, 64), st.integers(1, 64))
        ),
        st.just(GlobalEqualisation()),
        st.just(NoEnhancement()),
    ),
    geometry=st.one_of(st.builds(Tiles, overlap_px=st.integers(0, 63)), st.just(Letterbox())),
    normalisation=st.builds(Normalisation, mean=st.floats(-1, 1), std=st.floats(0.01, 2)),
    score_thresholds=st.fixed_dictionaries({name: st.floats(0, 1) for name in CLASSES}),
    mm_per_px=st.one_of(st.none(), st.floats(0.01, 10)),
    iou_threshold=st.floats(0.01, 1),
)


@given(contract=contracts)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_contract_survives_the_onnx_file(tmp_path, contract):
    """The network is the same each time: that it needs no second proof spares a process each."""
    with patch("edge.backends.onnxruntime.prove"):
        assert read_contract(write_bright_cell_model(tmp_path / "m.onnx", contract)) == contract

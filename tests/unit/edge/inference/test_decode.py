from __future__ import annotations

import numpy as np
import pytest

from edge.core.detections import Detections, no_detections
from edge.core.errors import ModelError
from edge.core.geometry import View, plan_tiles
from edge.inference.decode import (
    MAX_DETECTIONS_PER_VIEW,
    Decoder,
    decode_view,
    merge_views,
    suppress_duplicates,
)
from tests.conftest import bright_cell_contract


def detections(*rows):
    """Build detections from (x1, y1, x2, y2, score, class id)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def boxes(found):
    return sorted(map(tuple, found.boxes_xyxy_px.tolist()))


def test_thresholds_are_per_class_and_inclusive():
    scores = np.array([[0.5, 0.1], [0.49, 0.3], [0.0, 0.29]], np.float32)
    grid = np.array([[0, 0, 4, 4], [10, 0, 14, 4], [20, 0, 24, 4]], np.float32)
    found = decode_view(grid, scores, np.array([0.5, 0.3], np.float32), 0.5)
    assert list(zip(found.class_ids.tolist(), boxes(found), strict=True)) == [
        (0, (0, 0, 4, 4)),
        (1, (10, 0, 14, 4)),
    ]


def test_nothing_above_the_threshold():
    assert (
        len(decode_view(np.zeros((5, 4), np.float32), np.zeros((5, 3), np.float32), np.full(3, 0.1), 0.5))
        == 0
    )
    assert (
        len(decode_view(np.zeros((0, 4), np.float32), np.zeros((0, 3), np.float32), np.full(3, 0.1), 0.5))
        == 0
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["boxes", "scores"])
def test_a_network_that_gives_no_numbers_is_not_a_clean_cloth(value, where):
    arrays = {"boxes": np.ones((5, 4), np.float32), "scores": np.full((5, 3), 0.9, np.float32)}
    arrays[where][2, 1] = value
    with pytest.raises(ModelError, match="not finite"):
        decode_view(arrays["boxes"], arrays["scores"], np.full(3, 0.1, np.float32), 0.5)


def test_duplicates_of_one_class_go_and_other_classes_stay():
    found = detections(
        (0, 0, 10, 10, 0.9, 0), (0, 0, 10, 9, 0.8, 0), (0, 0, 10, 10, 0.7, 1), (50, 50, 60, 60, 0.6, 0)
    )
    kept = suppress_duplicates(found, 0.5)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert boxes(suppress_duplicates(kept, 0.5)) == boxes(kept)


def test_a_flickering_lamp_costs_bounded_work():
    many = 20_000
    grid = np.random.default_rng(0).random((many, 4), np.float32).cumsum(axis=1) * 100
    found = decode_view(grid, np.full((many, 1), 0.9, np.float32), np.array([0.1], np.float32), 0.99)
    assert len(found) <= MAX_DETECTIONS_PER_VIEW


def test_thousands_of_detections_can_be_merged():
    views = plan_tiles((256, 4096), (256, 256), 32)
    cells = np.stack(np.meshgrid(np.arange(17), np.arange(17)), -1).reshape(-1, 2).astype(np.float32) * 15
    parts = []
    for view in views:
        corner = cells + np.array([view.left_px, 0], np.float32)
        box = np.concatenate([corner, corner + 8], 1)
        parts.append(Detections(box, np.full(len(box), 0.9, np.float32), np.zeros(len(box), np.int64)))
    merged = merge_views(parts, views)
    assert len(parts) * 200 < len(merged) <= len(parts) * 289


TWO_TILES = (View(0, 0, 64, 64), View(48, 0, 112, 64))


def test_a_pick_across_two_tiles_is_one_box():
    left, right = detections((10, 30, 64, 34, 0.8, 2)), detections((48, 31, 100, 35, 0.9, 2))
    merged = merge_views([left, right], TWO_TILES)
    assert boxes(merged) == [(10, 30, 100, 35)]
    assert merged.scores.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize(
    "other",
    [(48, 31, 100, 35, 0.9, 1), (48, 50, 100, 54, 0.9, 2), (70, 30, 100, 34, 0.9, 2)],
    ids=["other class", "other line", "beyond what both saw"],
)
def test_what_is_not_the_same_stays_apart(other):
    left = detections((10, 30, 64, 34, 0.8, 2))
    assert len(merge_views([left, detections(other)], TWO_TILES)) == 2


@pytest.mark.parametrize(
    ("box", "stays"),
    [
        pytest.param((0, 0, 64, 64), False, id="fills the tile"),
        pytest.param((2, 3, 62, 61), False, id="nearly fills it"),
        pytest.param((0, 0, 64, 50), True, id="has an end below"),
        pytest.param((0, 30, 64, 34), True, id="runs through from side to side"),
        pytest.param((5, 5, 59, 59), True, id="has its ends inside"),
    ],
)
def test_what_fills_one_of_several_tiles_says_nothing_of_a_place(box, stays):
    found = detections((*box, 0.9, 0))
    merged = merge_views([found, no_detections()], TWO_TILES)
    assert len(merged) == stays
    assert len(merge_views([found], TWO_TILES[:1])) == 1, "an image of its own may show nothing else"


def test_two_defects_in_one_tile_are_never_merged():
    both = detections((0, 0, 20, 20, 0.9, 0), (2, 2, 22, 22, 0.8, 0))
    assert len(merge_views([both, no_detections()], TWO_TILES)) == 2


def test_merging_does_not_depend_on_the_order_of_the_tiles():
    views = plan_tiles((160, 160), (64, 64), 16)
    rng = np.random.default_rng(3)
    parts = []
    for view in views:
        corner = rng.uniform(0, 50, (6, 2)).astype(np.float32)
        box = np.concatenate([corner, corner + rng.uniform(4, 14, (6, 2)).astype(np.float32)], 1)
        box += np.array([view.left_px, view.top_px] * 2, np.float32)
        parts.append(Detections(box, rng.random(6, np.float32), rng.integers(0, 2, 6)))
    expected = boxes(merge_views(parts, views))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(views))
        assert boxes(merge_views([parts[i] for i in order], [views[i] for i in order])) == expected


def test_decoder_maps_to_the_frame():
    contract = bright_cell_contract()
    grid = np.array([[[8, 8, 16, 16]]] * 2, np.float32)
    scores = np.array([[[0, 0, 0.9]], [[0, 0, 0.1]]], np.float32)
    first, second = Decoder(contract).decode(grid, scores, TWO_TILES[::-1])
    assert boxes(first) == [(56, 8, 64, 16)]
    assert len(second) == 0


def test_records_are_spelled_out():
    record = detections((1.04, 2, 3, 4, 0.91237, 2)).records(("wrinkle", "drop", "broken"))[0]
    assert record == {"label": "broken", "score": 0.9124, "box_xyxy_px": [1.0, 2.0, 3.0, 4.0]}


def test_views_without_any_defect_are_left_out_of_the_work_and_nothing_changes():
    contract = bright_cell_contract(score_thresholds={"wrinkle": 0.9, "drop": 0.3, "broken": 0.6})
    rng, thresholds = np.random.default_rng(3), np.array([0.9, 0.3, 0.6], np.float32)
    scores = (
        rng.random((5, 40, 3), np.float32) * np.array([1, 0.25, 0.5, 0.95, 0], np.float32)[:, None, None]
    )
    corners = rng.random((5, 40, 2), np.float32) * 50
    grids = np.concatenate([corners, corners + 9], axis=2)
    views = [View(0, 0, 64, 64)] * 5
    parts = Decoder(contract).decode(grids, scores, views)
    for part, grid, view_scores in zip(parts, grids, scores, strict=True):
        alone = decode_view(grid, view_scores, thresholds, contract.iou_threshold)
        assert np.array_equal(part.boxes_xyxy_px, alone.boxes_xyxy_px)
        assert np.array_equal(part.scores, alone.scores)
        assert np.array_equal(part.class_ids, alone.class_ids)
    assert [len(part) > 0 for part in parts] == [True, False, True, True, False]


@pytest.mark.parametrize("boxes_per_view", [40, 700], ids=["few", "more than are looked at"])
@pytest.mark.parametrize("seed", range(3))
def test_one_pass_finds_what_one_at_the_thresholds_and_one_below_them_find(boxes_per_view, seed):
    thresholds = {"wrinkle": 0.9, "drop": 0.3, "broken": 0.6}
    contract = bright_cell_contract(score_thresholds=thresholds)
    lowered = contract.with_thresholds({"wrinkle": 0.8, "drop": 0.2, "broken": 0.5})
    rng, views = np.random.default_rng(seed), [View(0, 0, 64, 64)] * 4
    scores = rng.random((4, boxes_per_view, 3), np.float32)
    scores *= np.array([1, 0.28, 0.29, 0], np.float32)[:, None, None]
    corners = rng.random((4, boxes_per_view, 2), np.float32) * 50
    grids = np.concatenate([corners, corners + 9], axis=2)
    both = Decoder(contract, 0.1).decode_near(grids, scores, views)
    high, low = (Decoder(one).decode(grids, scores, views) for one in (contract, lowered))
    for (found, near), wanted, wanted_near in zip(both, high, low, strict=True):
        assert rows(found) == rows(wanted)
        if not len(found):  # only then anybody looks at near misses
            assert rows(near) == rows(wanted_near)
    assert [len(found) > 0 for found, _ in both] == [True, False, False, False]
    assert [len(near) > 0 for _, near in both[1:]] == [True, True, False]


def rows(found):
    return [
        *zip(found.boxes_xyxy_px.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    ]


def test_a_broken_network_is_noticed_also_below_every_threshold():
    scores = np.zeros((2, 5, 3), np.float32)
    scores[1, 2, 0] = -np.inf
    with pytest.raises(ModelError, match="not finite"):
        Decoder(bright_cell_contract()).decode(
            np.zeros((2, 5, 4), np.float32), scores, [View(0, 0, 64, 64)] * 2
        )

from __future__ import annotations

import numpy as np
import pytest

from edge.core.contract import Letterbox
from edge.core.errors import ConfigError
from edge.core.geometry import iou_matrix, letterbox_view, plan_tiles, plan_views, tile_starts
from tests.conftest import bright_cell_contract


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "starts"),
    [
        (640, 640, 64, [0]),
        (100, 640, 64, [0]),
        (641, 640, 64, [0, 1]),
        (1216, 640, 64, [0, 576]),
        (1217, 640, 64, [0, 288, 577]),
        (4096, 256, 0, list(range(0, 4096, 256))),
        (1, 1, 0, [0]),
    ],
    ids=["exact", "smaller", "one-over", "two", "two-over", "no-overlap", "single-pixel"],
)
def test_tile_starts(length, tile, overlap, starts):
    assert tile_starts(length, tile, overlap) == starts


@pytest.mark.parametrize(("length", "tile", "overlap"), [(0, 64, 0), (10, 64, 64), (10, 64, -1)])
def test_impossible_tiles(length, tile, overlap):
    with pytest.raises(ValueError, match="no tiles"):
        tile_starts(length, tile, overlap)


def test_a_wide_frame_is_tiled_at_the_scale_of_training():
    contract = bright_cell_contract(mm_per_px=0.2)
    assert {view.scale for view in plan_views((64, 640), contract, 0.1)} == {0.5}
    assert len(plan_views((64, 640), contract, None)) > len(plan_views((64, 640), contract, 0.1))


@pytest.mark.parametrize("mm_per_px", [0.049, 0.81, 10, 100])
def test_a_scale_far_from_the_models_is_refused_before_it_becomes_thousands_of_tiles(mm_per_px):
    with pytest.raises(ConfigError, match=r"--mm-per-px.* 0\.05 to 0\.8"):
        plan_views((256, 2048), bright_cell_contract(mm_per_px=0.2), mm_per_px)


@pytest.mark.parametrize("mm_per_px", [0.05, 0.8])
def test_a_scale_up_to_four_times_the_models_is_taken(mm_per_px):
    assert plan_views((64, 256), bright_cell_contract(mm_per_px=0.2), mm_per_px)


def test_a_letterbox_and_a_model_without_a_scale_take_any():
    assert len(plan_views((64, 64), bright_cell_contract(geometry=Letterbox(), mm_per_px=0.2), 100)) == 1
    assert len(plan_views((64, 64), bright_cell_contract(), 100)) == 1


def test_letterbox_centres():
    view = letterbox_view((100, 200), (64, 64))
    assert view.scaled_size_hw_px() == (32, 64)
    assert (view.pad_left_px, view.pad_top_px) == (0, 16)
    assert plan_views((100, 200), bright_cell_contract(geometry=Letterbox())) == (view,)


@pytest.mark.parametrize("frame", [(0, 10), (10, 0)])
def test_an_empty_frame_has_no_views(frame):
    with pytest.raises(ValueError, match="frame"):
        plan_tiles(frame, (64, 64), 8)
    with pytest.raises(ValueError, match="frame"):
        letterbox_view(frame, (64, 64))


def test_iou_matrix():
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], np.float32)
    b = np.array([[0, 0, 10, 5], [20, 20, 30, 30], [5, 5, 5, 5]], np.float32)
    assert iou_matrix(a, b).tolist() == [[0.5, 0, 0], [0, 0, 0]]
    assert iou_matrix(a[:0], b).shape == (0, 3)
    with pytest.raises(ValueError, match=r"\(N, 4\)"):
        iou_matrix(np.zeros((2, 3), np.float32), b)

from __future__ import annotations

import cv2
import numpy as np
import pytest

from distill.data.augmentation import flipped, moved_view, quarter_turned, relit
from distill.data.tiles import (
    TilePlan,
    TrainingTiles,
    cloth_cells,
    collate,
    ground_truth_batches,
    showings,
    visible_ground_truth,
)
from distill.settings.tables import Augmentation
from edge.core.contract import NoEnhancement
from edge.core.geometry import View
from edge.inference.preprocess import Preprocessor, cut_view
from tests.unit.distill.tiny import tiny_contract, tiny_dataset, tiny_recipe

VIEW = View(100, 0, 164, 64)


@pytest.mark.parametrize(
    ("box", "is_kept"),
    [
        pytest.param((110, 10, 120, 20), True, id="inside"),
        pytest.param((0, 10, 90, 20), False, id="outside"),
        pytest.param((90, 10, 104, 20), False, id="a-third-less-a-bit"),
        pytest.param((96, 10, 106, 20), True, id="most"),
        pytest.param((120, -400, 123, 900), True, id="long-thin-through"),
        pytest.param((120, 60, 123, 900), False, id="long-thin-stub"),
        pytest.param((0, -200, 400, 400), True, id="covers-the-tile"),
        pytest.param((0, 0, 103, 64), False, id="sliver-of-a-large-one"),
        pytest.param((110, 10, 110.5, 20), False, id="thinner-than-a-pixel"),
    ],
)
def test_boxes_stay_if_enough_of_them_is_visible(box, is_kept):
    boxes, class_ids = visible_ground_truth(np.array([box], np.float32), np.array([2]), VIEW)
    assert (len(boxes), len(class_ids)) == (is_kept, is_kept)
    assert (boxes >= 0).all()
    assert (boxes <= 64).all()


def test_no_boxes_give_no_ground_truth():
    boxes, class_ids = visible_ground_truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), VIEW)
    assert boxes.shape == (0, 4)
    assert len(class_ids) == 0


@pytest.mark.parametrize("frame_hw", [(64, 160), (64, 64), (40, 50), (200, 300)])
def test_moved_views_stay_in_the_frame_and_fit_the_input(frame_hw):
    limits = Augmentation(zoom_share=0.5, shift_share=1.0)
    start = View(0, 0, min(64, frame_hw[1]), min(64, frame_hw[0]))
    for seed in range(50):
        view = moved_view(start, frame_hw, limits, np.random.default_rng(seed))
        assert 0 <= view.left_px < view.right_px <= frame_hw[1]
        assert 0 <= view.top_px < view.bottom_px <= frame_hw[0]
        assert max(view.scaled_size_hw_px()) <= 65


def test_flips_carry_boxes_along():
    image = np.zeros((32, 64), np.uint8)
    image[4:10, 20:50] = 255
    boxes = np.array([[20, 4, 50, 10]], np.float32)
    for seed in range(8):
        turned, turned_boxes = flipped(image, boxes, Augmentation(), np.random.default_rng(seed))
        left, top, right, bottom = turned_boxes[0].astype(int)
        assert turned[top:bottom, left:right].min() == 255
        assert turned.sum() == image.sum()


def test_a_quarter_turn_keeps_boxes_on_what_they_name():
    always, rng = Augmentation(quarter_turn_share=1.0), np.random.default_rng(0)
    image = np.zeros((40, 40), np.uint8)
    image[4:8, 10:30] = 255
    boxes = np.array([[10, 4, 30, 8]], np.float32)
    turned, turned_boxes, ids = quarter_turned(image, boxes, np.array([1]), (0, 2, 1), always, rng)
    left, top, right, bottom = turned_boxes[0].astype(int)
    assert (right - left, bottom - top) == (4, 20)
    assert turned[top:bottom, left:right].min() == 255
    assert turned.sum() == image.sum()
    assert ids.tolist() == [2]
    same, same_boxes, ids = quarter_turned(image, boxes, np.array([1]), (0, None, 1), always, rng)
    assert (same == image).all()
    assert (same_boxes == boxes).all()
    assert ids.tolist() == [1]


def test_a_rare_class_comes_more_often_and_is_never_twice_the_same(plan):
    order = plan.epoch_order(0, 0, 0.0, rare_class_share=1.0)
    assert set(order) == set(plan.epoch_order(0, 0, 0.0))
    assert len(order) > len(set(order))
    assert len(plan.epoch_order(1, 0, 0.0, rare_class_share=1.0)) == len(order)
    again = next(position for position, shown in enumerate(showings(order)) if shown.before)
    tiles = TrainingTiles(plan, showings(order), tiny_contract(), Augmentation(), (0, 0), (0, 1, 2))
    assert (tiles[again][0] != tiles[order.index(order[again])][0]).any()


def test_light_changes_keep_size_and_type():
    image = np.full((32, 32), 128, np.uint8)
    limits = Augmentation(blur_share=1.0, noise_grey=20)
    changed = relit(image, limits, np.random.default_rng(0))
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    still = Augmentation(brightness_share=0, contrast_share=0, gamma_share=0, noise_grey=0, blur_share=0)
    assert (relit(image, still, np.random.default_rng(0)) == image).all()


@pytest.fixture
def plan(tmp_path):
    data = tiny_dataset(tmp_path / "data")
    return TilePlan(data.train, tiny_contract(), data.mm_per_px, cache_mb=8)


def test_an_epoch_has_all_defects_and_a_fresh_fraction_of_the_rest(plan):
    empty = [i for i, tile in enumerate(plan.tiles) if tile.is_empty]
    orders = [plan.epoch_order(epoch, 0, 0.5) for epoch in (0, 1)]
    for order in orders:
        assert set(range(len(plan.tiles))) - set(empty) <= set(order)
        assert len(order) == len(plan.tiles) - len(empty) + round(0.5 * len(empty))
    assert set(orders[0]) != set(orders[1])
    assert plan.epoch_order(1, 0, 0.5) == orders[1]


def test_images_beyond_the_cache_are_read_again(tmp_path):
    data = tiny_dataset(tmp_path / "data")
    plan = TilePlan(data.train, tiny_contract(), data.mm_per_px, cache_mb=0)
    assert plan.image(0).shape == (64, 160)


def test_training_tiles_repeat_exactly_and_change_with_the_epoch(plan):
    order = plan.epoch_order(0, 0, 1.0)

    def sample(epoch):
        return TrainingTiles(plan, showings(order), tiny_contract(), Augmentation(), (0, epoch), (0, 1, 2))[
            0
        ]

    assert (sample(0)[0] == sample(0)[0]).all()
    assert (sample(0)[0] != sample(1)[0]).any()


def test_cloth_comes_with_the_tiles_where_it_is_asked_for(plan):
    order = plan.epoch_order(0, 0, 1.0)[:2]
    for finds_cloth in (True, False):
        tiles = TrainingTiles(
            plan,
            showings(order),
            tiny_contract(),
            Augmentation(),
            (0, 0),
            (0, 1, 2),
            finds_cloth=finds_cloth,
        )
        _, targets = collate([tiles[0], tiles[1]])
        assert ("cloth" in targets) == finds_cloth


@pytest.fixture
def half_bare(tmp_path):
    """Plan a data set whose images show the noise of a bare machine bed left of column 300."""
    data = tiny_dataset(tmp_path / "data", train=2)
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(160, 25, (256, 640)), 0, 255).astype(np.uint8)
    image[:, :300] = np.rint(rng.normal(90, 2, (256, 300)))
    for labelled in data.train:
        assert cv2.imwrite(str(labelled.path), image)
    return TilePlan(data.train, tiny_contract(), data.mm_per_px, cache_mb=8)


@pytest.mark.parametrize("zoom", [0.85, 1.0, 1.15])
@pytest.mark.parametrize(
    ("left_px", "shows_cloth"), [(0, False), (100, False), (400, True)], ids=["bed", "more-bed", "cloth"]
)
def test_a_tile_shows_cloth_where_its_image_does_at_any_zoom(half_bare, left_px, shows_cloth, zoom):
    """A tile wholly beside the cloth, too, and one whose zoom makes the noise as coarse as a weave."""
    side_px = round(64 / zoom)
    view = View(left_px, 96, left_px + side_px, 96 + side_px, zoom)
    cells = cloth_cells(cut_view(half_bare.cloth(0), view, (64, 64)))
    assert cells.shape == (8, 8)
    assert (cells.all(), cells.any()) == (shows_cloth, shows_cloth)


def test_cloth_is_flipped_and_turned_with_its_tile(half_bare):
    """In every showing the cells are cloth where the tile is bright, and nowhere else."""
    order = half_bare.epoch_order(0, 0, 1.0)
    turned = Augmentation(
        quarter_turn_share=0.5, noise_grey=0, brightness_share=0, contrast_share=0, gamma_share=0
    )
    contract = tiny_contract(tiny_recipe(enhancement=NoEnhancement()))
    seen = set()
    for epoch in range(3):
        tiles = TrainingTiles(
            half_bare, showings(order), contract, turned, (0, epoch), (0, 1, 2), finds_cloth=True
        )
        for image, *_, cells in (tiles[number] for number in range(len(order))):
            greys = 255 * cv2.resize(image[0], (8, 8), interpolation=cv2.INTER_AREA)
            assert (cells == (greys > 125)).mean() > 0.7  # the finder errs by a cell along the edge
            seen.add((bool(cells.all()), bool(cells.any())))
    assert seen == {(True, True), (False, True), (False, False)}


def test_an_image_in_which_no_cloth_is_found_counts_as_cloth(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=2)
    assert cv2.imwrite(str(data.train[0].path), np.full((64, 60), 90, np.uint8))
    plan = TilePlan(data.train, tiny_contract(), data.mm_per_px, cache_mb=8)
    assert (plan.cloth(0) == 255).all()
    assert plan.cloth(0).shape == (64, 60)


def test_validation_tiles_are_what_the_edge_sees(plan):
    contract = tiny_contract()
    images, ground_truths = next(ground_truth_batches(plan, contract, batch=4))
    tile = plan.tiles[2]
    expected = Preprocessor(contract).batch(plan.image(tile.image_index), [tile.view])[0]
    assert (images[2] == expected).all()
    assert len(ground_truths) == 4


def test_collate_numbers_boxes_by_image():
    image = np.zeros((1, 64, 64), np.float32)
    box = np.array([[0, 0, 32, 64]], np.float32)
    none = np.zeros((0, 4), np.float32)
    nothing = (image, none, np.zeros(0, np.int64), np.zeros(0, np.float32), None)
    images, targets = collate([nothing, (image, box, np.array([2]), np.array([0.75], np.float32), None)])
    assert images.shape == (2, 1, 64, 64)
    assert targets["batch_idx"].tolist() == [1]
    assert targets["cls"].tolist() == [[2]]
    assert targets["bboxes"].tolist() == [[0.25, 0.5, 0.5, 1.0]]
    assert targets["weights"].tolist() == [0.75]

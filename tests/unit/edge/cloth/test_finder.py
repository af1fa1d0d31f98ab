from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.loom import LoomCamera
from edge.cloth.finder import (
    ISLAND_CELLS,
    SPECK_CELLS,
    GrainFinder,
    cloth_mask,
    without_islands,
    without_specks,
)
from edge.simulator.options import LoomOptions

FULL = {"bed_left_mm": -10, "bed_right_mm": -10}


def loom_image(seed, **options):
    """Return a block of simulated cloth, the options and the kind of its bed."""
    values = {"width_px": 512, "lines_per_block": 256, "defects_per_m": 0, "texture_lines": 301}
    with LoomCamera(LoomOptions(seed=seed, **{**values, **options})) as camera:
        return camera.read().image, camera.options, camera.loom.style.bed


def iou(found, ground_truth):
    return (found & ground_truth).sum() / (found | ground_truth).sum()


def woven(size_hw, grey, contrast=0.2, noise=2.0, seed=0):
    """Return plain weave of 8 px per repeat with the noise of a sensor."""
    rows, columns = np.indices(size_hw)
    weave = np.sin(rows * np.pi / 4) * np.sin(columns * np.pi / 4)
    sensor = np.random.default_rng(seed).normal(0, noise, size_hw)
    return np.clip(grey * (1 + contrast * weave) + sensor, 0, 255).astype(np.uint8)


def bare(size_hw, grey, noise=2.0, seed=1):
    """Return a bed: scratches along the rows, and the noise of a sensor."""
    rng = np.random.default_rng(seed)
    scratches = rng.normal(0, 6, (size_hw[0], 1))
    return np.clip(grey + scratches + rng.normal(0, noise, size_hw), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("seed", "bed"), [(1, "dark"), (110, "grey"), (106, "white"), (123, "dark")])
def test_simulated_cloth_beside_its_bed(seed, bed):
    image, options, kind = loom_image(seed, bed_left_mm=30, bed_right_mm=15)
    assert kind == bed
    ground_truth = np.zeros((32, 64), np.bool_)
    left_px, right_px = options.cloth_in_view_px
    ground_truth[:, round(left_px / 8) : round(right_px / 8)] = True
    assert iou(cloth_mask(image), ground_truth) > 0.88  # one cell on either side


def test_coloured_cloth_is_found_as_grey_cloth_is():
    image, *_ = loom_image(1, colour=True, **FULL)
    assert image.ndim == 3
    assert cloth_mask(image).all()


@pytest.mark.parametrize("seed", [106, 110, 118])
@pytest.mark.parametrize(
    "categories", [("hole",), ("stain",), ("wrinkle", "crease"), ("broken end", "broken pick")]
)
def test_defects_are_not_cut_out_of_the_cloth(seed, categories):
    image, *_ = loom_image(
        seed,
        defects_per_m=40,
        categories=categories,
        difficulties=("obvious",),
        lines_per_block=512,
        **FULL,
    )
    assert cloth_mask(image).all()


@pytest.mark.parametrize(("cloth", "bed"), [(40, 200), (200, 40), (120, 120), (30, 30)])
def test_dark_on_bright_and_bright_on_dark(cloth, bed):
    image = bare((256, 512), bed)
    image[:, 200:] = woven((256, 312), cloth, contrast=0.4)
    ground_truth = np.zeros((32, 64), np.bool_)
    ground_truth[:, 25:] = True
    assert iou(cloth_mask(image), ground_truth) > 0.94


@pytest.mark.parametrize("grey", [0, 5, 60, 140, 230, 255])
def test_a_bare_bed_has_no_cloth(grey):
    assert not cloth_mask(bare((256, 256), grey)).any()


@pytest.mark.parametrize("grey", [0, 100, 255])
def test_a_flat_image_has_no_cloth(grey):
    assert not cloth_mask(np.full((128, 128), grey, np.uint8)).any()


@pytest.mark.parametrize("pitch_px", [2, 3, 5, 9])
def test_yarns_from_two_pixels_up(pitch_px):
    """Cloth of two pixels per yarn has no grain left at half the size: it is known by its strength."""
    rows, columns = np.indices((128, 256))
    weave = (rows // pitch_px + columns // pitch_px) % 2 if pitch_px > 2 else (rows + columns) % 2
    assert cloth_mask((100 + 40 * weave).astype(np.uint8)).all()


def test_a_hole_inside_is_a_defect_and_a_strip_at_the_side_is_bed():
    image = woven((256, 512), 120)
    image[96:160, 200:280] = 0
    image[:, 432:] = 0
    mask = cloth_mask(image)
    assert mask[:, :53].all()
    assert not mask[:, 55:].any()


def test_an_end_of_the_cloth_is_found_by_line():
    image = bare((256, 512), 60)
    image[:120] = woven((120, 512), 120)
    lines = GrainFinder().find(image).lines()
    assert abs(int(lines.sum()) - 120) <= 8
    assert lines[:112].all()
    assert not lines[136:].any()


def cells_with(height, width, *blocks, on=True):
    cells = np.full((height, width), not on)
    for top, left, rows, columns in blocks:
        cells[top : top + rows, left : left + columns] = on
    return cells


@pytest.mark.parametrize(
    ("block", "filled"),
    [
        ((10, 10, 12, 30), True),  # a great hole, cloth all round
        ((0, 10, 8, ISLAND_CELLS // 8), True),  # a hole cut by the upper edge
        ((0, 10, 8, ISLAND_CELLS // 8 + 1), False),  # too large for one
        ((0, 0, 4, 4), True),  # a corner of a few cells
        ((0, 0, 32, 3), False),  # a strip from top to bottom
        ((28, 0, 4, 64), False),  # the end of the cloth
    ],
    ids=["inside", "at one side", "large at one side", "corner", "strip", "end"],
)
def test_islands(block, filled):
    cells = cells_with(32, 64, block, on=False)
    assert without_islands(cells).all() == filled
    assert (without_islands(cells) | ~cells).all() or (without_islands(cells) == cells).all()


@pytest.mark.parametrize(("side", "kept"), [(2, False), (6, True)])
def test_specks(side, kept):
    cells = cells_with(32, 64, (5, 5, side, side))
    assert without_specks(cells).any() == kept
    assert (side * side >= SPECK_CELLS) == kept


def test_islands_and_specks_leave_what_they_are_given():
    cells = cells_with(32, 64, (10, 10, 3, 3), on=False)
    before = cells.copy()
    without_islands(cells)
    without_specks(cells)
    np.testing.assert_array_equal(cells, before)


random_cells = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1)).map(
        lambda shape: np.random.default_rng(seed).random(shape[:2]) < shape[2]
    )
)


@given(random_cells)
def test_filling_only_adds_taking_away_only_takes_and_both_are_idempotent(cells):
    filled, kept = without_islands(cells), without_specks(cells)
    assert (filled >= cells).all()
    assert (kept <= cells).all()
    np.testing.assert_array_equal(without_islands(filled), filled)
    np.testing.assert_array_equal(without_specks(kept), kept)


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([(), (3,)]),
    st.integers(0, 2**32 - 1),
)
def test_an_image_of_any_size_has_a_mask_of_whole_cells(height, width, channels, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    mask = GrainFinder().find(image)
    assert mask.cells.shape == (-(-height // 8), -(-width // 8))
    assert mask.cells.dtype == np.bool_
    assert len(mask.lines()) == height
    np.testing.assert_array_equal(mask.cells, GrainFinder().find(image).cells)


@given(st.integers(0, 7), st.booleans())
def test_a_mirrored_image_has_the_mirrored_mask(seed, upside_down):
    image = bare((128, 256), 80, seed=seed)
    image[:, 120:] = woven((128, 136), 120, seed=seed)
    axis = 0 if upside_down else 1
    mirrored = cloth_mask(np.ascontiguousarray(np.flip(image, axis)))
    assert (
        iou(np.flip(mirrored, axis), cloth_mask(image)) > 0.9
    )  # one cell: rows and pixels are looked at in pairs


def test_a_view_into_a_larger_image_is_read_as_its_copy_is():
    whole = cv2.hconcat([woven((128, 256), 120), bare((128, 256), 60)])
    part = whole[8:104, 100:420]
    np.testing.assert_array_equal(cloth_mask(part), cloth_mask(part.copy()))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 8), np.uint8),
        np.zeros((8, 0), np.uint8),
        np.zeros((8, 8), np.float32),
        np.zeros((8, 8), np.uint16),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros(8, np.uint8),
    ],
    ids=lambda image: f"{image.dtype} {image.shape}",
)
def test_what_is_no_image(image):
    with pytest.raises(ValueError, match="not an image"):
        cloth_mask(image)

"""The look `woven`: cloth from a model of its yarns; defects change nothing outside their masks."""

import cv2
import numpy as np
import pytest

from edge.simulator.ground_truth import DIFFICULTIES, tight_box
from edge.simulator.kinds import Site
from edge.simulator.loom import Loom
from edge.simulator.options import CATEGORIES, PATTERNS, WEAVES, LoomOptions
from edge.simulator.patch import Figure, Ground, apply_patch, patch_from_figure
from edge.simulator.woven.article import draw_article
from edge.simulator.woven.kinds import WOVEN_KINDS


def woven(**settings):
    defaults = {
        "width_px": 400,
        "texture_lines": 200,
        "bed_left_mm": 5,
        "bed_right_mm": 5,
        "pattern": "solid",
    }
    return LoomOptions(look="woven", **defaults | settings)


def ground_of(options):
    """Return one repeat of clean cloth along the roll, inside the selvedges, as numbers."""
    image = Loom(options).render(0, options.texture_lines)
    return image[:, options.left_selvedge_px + 70 : options.right_selvedge_px - 70].astype(np.float64)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("weave", WEAVES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_seed_weaves_the_same_cloth(weave, colour, pattern):
    options = woven(seed=3, weave=weave, colour=colour, pattern=pattern, defects_per_m=8)
    first, second = Loom(options).render(500, 100), Loom(options).render(500, 100)
    assert first.shape == ((100, 400, 3) if colour else (100, 400))
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)


def test_another_seed_weaves_another_cloth():
    assert not np.array_equal(Loom(woven(seed=1)).render(0, 64), Loom(woven(seed=2)).render(0, 64))


@pytest.mark.parametrize("seed", range(4))
def test_cloth_is_as_bright_as_asked(seed):
    assert ground_of(woven(seed=seed, mean_grey=120, defects_per_m=0)).mean() == pytest.approx(120, abs=20)


@pytest.mark.parametrize("seed", range(4))
def test_the_spectrum_has_the_pitches_of_the_yarns(seed):
    options = woven(seed=seed, weave="plain", warp_pitch_px=5, weft_pitch_px=4, defects_per_m=0)
    repeat = draw_article(options).repeat
    ground = ground_of(options)
    ground -= cv2.GaussianBlur(ground, (0, 0), 8)
    window = np.outer(np.hanning(ground.shape[0]), np.hanning(ground.shape[1]))
    power = np.abs(np.fft.rfft2(ground * window)) ** 2
    row, column = np.unravel_index(power.argmax(), power.shape)
    down = min(row, ground.shape[0] - row) / ground.shape[0]
    across = column / ground.shape[1]
    down_px, across_px = len(repeat) * 4, len(repeat[0]) * 5
    assert down * down_px == pytest.approx(round(down * down_px), abs=0.12)
    assert across * across_px == pytest.approx(round(across * across_px), abs=0.12)


def along_the_twill(options, article, repeats=3):
    """Return how alike cloth is to itself, so many repeats of the weave further along its twill lines."""
    ground = ground_of(options)
    ground -= cv2.GaussianBlur(ground, (0, 0), 8)
    yarns = repeats * len(article.repeat)
    down, across = round(yarns * article.weft_pitch_px), round(yarns * article.warp_pitch_px)
    middle = np.ascontiguousarray(ground[down + 4 : -down - 4, across + 4 : -across - 4], np.float32)
    top, left = 2 * down, (1 - article.hand) * across
    there = ground[top : top + len(middle) + 8, left : left + middle.shape[1] + 8].astype(np.float32)
    return float(cv2.matchTemplate(there, middle, cv2.TM_CCOEFF_NORMED).max())


def test_the_lines_of_a_twill_are_not_broken():
    settings = {
        "weave": "twill",
        "warp_pitch_px": 3,
        "weft_pitch_px": 4,
        "mean_grey": 120,
        "texture_lines": 360,
    }
    options = [woven(seed=seed, defects_per_m=0, **settings) for seed in range(12)]
    articles = [(each, draw_article(each)) for each in options]
    alike = [along_the_twill(each, article) for each, article in articles if not article.nap]
    assert np.median(alike) > 0.6
    assert min(alike) > 0.3


@pytest.mark.parametrize("seed", range(4))
def test_no_yarn_is_brighter_than_its_neighbours_all_along(seed):
    ground = ground_of(woven(seed=seed, defects_per_m=0, mean_grey=120, warp_pitch_px=4))
    columns = cv2.GaussianBlur(ground.mean(axis=0)[None, :], (0, 0), 4)[0]
    around = cv2.GaussianBlur(columns[None, :], (0, 0), 30)[0]
    assert np.abs(columns / around - 1).max() < 0.1


@pytest.mark.parametrize(("pattern", "across", "down"), [("stripes", True, False), ("checks", True, True)])
def test_stripes_run_along_the_roll_and_checks_both_ways(pattern, across, down):
    def spread(options, axis):
        profile = cv2.GaussianBlur(ground_of(options).mean(axis=axis)[None, :], (0, 0), 6)[0]
        return profile.std() / profile.mean()

    settings = {"weave": "plain", "warp_pitch_px": 4, "weft_pitch_px": 4, "defects_per_m": 0}
    options = [woven(seed=seed, pattern=pattern, **settings) for seed in range(5)]
    assert (np.median([spread(each, 0) for each in options]) > 0.05) == across
    assert (np.median([spread(each, 1) for each in options]) > 0.05) == down


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("category", CATEGORIES)
def test_every_kind_in_every_grade_fills_its_rectangle_and_changes_what_its_mask_says(category, difficulty):
    settings = {"seed": 11, "categories": (category,), "difficulties": (difficulty,)}
    loom = Loom(woven(defects_per_m=2, **settings))
    planted = loom.planted_in_panels(9)[0]
    first, last = (round(place * 1000 / loom.options.mm_per_px) for place in planted.along_m)
    count = last - first
    seen = next(s for s in loom.seen_defects(first, count) if s.defect_id == planted.defect_id)
    assert (seen.category, seen.difficulty) == (category, difficulty)
    x1, y1, x2, y2 = seen.box_xyxy_px
    x_low, x_high = (
        loom.options.left_selvedge_px + side / loom.options.mm_per_px for side in planted.across_mm
    )
    assert x_low - 0.5 <= x1
    assert x2 <= x_high + 0.5
    assert y2 - y1 > 0.6 * count
    assert x2 - x1 > 0.6 * (x_high - x_low)
    clean = Loom(woven(defects_per_m=0, seed=11)).render(first, count)
    assert (loom.render(first, count)[y1:y2, x1:x2] != clean[y1:y2, x1:x2]).any()


def test_pixels_outside_all_masks_are_those_of_clean_cloth_and_boxes_are_tight():
    loom, clean = Loom(woven(seed=5, defects_per_m=20)), Loom(woven(seed=5, defects_per_m=0))
    for first_line in range(0, 3000, 500):
        changed = loom.render(first_line, 500) != clean.render(first_line, 500)
        for seen in loom.seen_defects(first_line, 500):
            x1, y1, x2, y2 = seen.box_xyxy_px
            assert tight_box(seen.mask) == (0, 0, x2 - x1, y2 - y1)
            changed[y1:y2, x1:x2] &= seen.mask == 0
        assert not changed.any()


@pytest.mark.parametrize("category", CATEGORIES)
def test_nothing_ends_with_a_step_at_the_rim_of_its_mask(category):
    size_hw = {"nep": (12, 12), "broken end": (120, 11), "broken pick": (11, 120)}.get(category, (60, 60))
    for seed in range(12):
        figure = WOVEN_KINDS[category].draw(size_hw, Site(0.2, 4.0, 3.0, 60.0), np.random.default_rng(seed))
        for plane in (figure.shade, figure.fade):
            assert np.isfinite(plane).all()
            assert np.abs(plane).max() <= 1.0
            assert (plane[~figure.body] == 0).all()
        inner = cv2.erode(figure.body.astype(np.uint8), np.ones((3, 3)), borderValue=1) > 0
        rim = np.abs(figure.shade[figure.body & ~inner])
        assert rim.size == 0 or np.median(rim) < 0.35


def test_light_and_dye_change_dark_and_bright_yarns_in_proportion():
    yarns = np.tile(np.array([60, 120], np.uint8), (20, 10))
    shade = np.full((20, 20), -0.5, np.float32)
    figure = Figure(shade, np.zeros_like(shade), np.ones((20, 20), bool), lit=1.0)
    ground = Ground(np.full(20, 90, np.float32), 6.0, 1.0, (1.0, 1.0, 1.0))
    apply_patch(yarns, patch_from_figure(figure, ground, 5.0), slice(None))
    dark, bright = yarns[10, 10], yarns[10, 11]
    assert dark < 55
    assert bright / dark == pytest.approx(2, abs=0.06)

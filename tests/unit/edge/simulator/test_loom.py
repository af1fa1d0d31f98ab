import numpy as np
import pytest

from edge.simulator.ground_truth import DIFFICULTIES, tight_box
from edge.simulator.loom import KEPT_PANELS, KEPT_PATCH_PX, Loom
from edge.simulator.options import CATEGORIES, WEAVES, LoomOptions
from edge.simulator.plan import APART_MM


def small(**settings):
    return LoomOptions(
        **{"width_px": 400, "texture_lines": 127, "bed_left_mm": 5, "bed_right_mm": 5} | settings
    )


def lines_of(loom, planted):
    first, last = (round(place * 1000 / loom.options.mm_per_px) for place in planted.along_m)
    return first, last - first


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("weave", WEAVES)
def test_the_same_seed_weaves_the_same_cloth(weave, colour):
    options = small(seed=3, weave=weave, colour=colour, defects_per_m=8)
    first, second = Loom(options).render(500, 200), Loom(options).render(500, 200)
    assert first.shape == ((200, 400, 3) if colour else (200, 400))
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    assert np.array_equal(first, second)


def test_another_seed_weaves_another_cloth():
    assert not np.array_equal(Loom(small(seed=1)).render(0, 64), Loom(small(seed=2)).render(0, 64))


def test_frames_never_share_memory():
    loom = Loom(small())
    first = loom.render(0, 64)
    kept = first.copy()
    for block in range(1, 5):
        assert not np.shares_memory(first, loom.render(64 * block, 64))
    assert np.array_equal(first, kept)


def test_cloth_is_as_bright_as_asked_and_the_bed_lies_beside_it():
    options = small(mean_grey=120, defects_per_m=0)
    image = Loom(options).render(0, 300)
    left, right = options.left_selvedge_px, options.right_selvedge_px
    assert 95 < image[:, left + 60 : right - 60].mean() < 145
    assert image[:, : left - 6].std(axis=0).mean() < image[:, left + 60 : right - 60].std(axis=0).mean()


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("category", CATEGORIES)
def test_every_kind_in_every_grade_changes_pixels_where_it_was_planted(category, difficulty):
    settings = {"seed": 11, "categories": (category,), "difficulties": (difficulty,)}
    loom = Loom(small(defects_per_m=2, **settings))
    planted = loom.planted_in_panels(9)[0]
    first, count = lines_of(loom, planted)
    seen = next(s for s in loom.seen_defects(first, count) if s.defect_id == planted.defect_id)
    assert (seen.category, seen.class_name) == (category, loom.taxonomy.class_of(category))
    assert seen.difficulty == difficulty
    x1, y1, x2, y2 = seen.box_xyxy_px
    left = loom.options.left_selvedge_px
    x_low, x_high = (left + side / loom.options.mm_per_px for side in planted.across_mm)
    assert x_low - 0.5 <= x1
    assert x2 <= x_high + 0.5
    assert y2 - y1 > 0.6 * count
    assert x2 - x1 > 0.6 * (x_high - x_low)
    clean = Loom(small(defects_per_m=0, seed=11)).render(first, count)
    assert (loom.render(first, count)[y1:y2, x1:x2] != clean[y1:y2, x1:x2]).any()


def test_visible_grades_stand_out_from_the_cloth_and_in_their_order():
    deviations = {}
    for difficulty in DIFFICULTIES:
        steps = []
        for seed in range(6):
            loom = Loom(
                small(seed=seed, defects_per_m=3, difficulties=(difficulty,), categories=("stain",))
            )
            clean = Loom(small(seed=seed, defects_per_m=0))
            planted = loom.planted_in_panels(9)[0]
            first, count = lines_of(loom, planted)
            for seen in loom.seen_defects(first, count):
                x1, y1, x2, y2 = seen.box_xyxy_px
                body = seen.mask.astype(bool)
                change = loom.render(first, count).astype(int) - clean.render(first, count)
                steps.append(abs(change[y1:y2, x1:x2][body].mean()) / loom._ground.deviation_grey)
        deviations[difficulty] = np.mean(steps)
    assert deviations["subtle"] > 2.0
    assert deviations["obvious"] > deviations["clear"] > deviations["subtle"]
    assert deviations["subtle"] > 1.5 * deviations["barely visible"]


def test_pixels_outside_all_masks_are_those_of_clean_cloth():
    loom, clean = Loom(small(seed=5, defects_per_m=20)), Loom(small(seed=5, defects_per_m=0))
    for first_line in range(0, 3000, 500):
        changed = loom.render(first_line, 500) != clean.render(first_line, 500)
        for seen in loom.seen_defects(first_line, 500):
            x1, y1, x2, y2 = seen.box_xyxy_px
            assert tight_box(seen.mask) == (0, 0, x2 - x1, y2 - y1)
            changed[y1:y2, x1:x2] &= seen.mask == 0
        assert not changed.any()


def test_smeared_pixels_lie_in_the_mask_of_an_area_camera_too():
    settings = {"seed": 5, "scan": "area", "exposure_ms": 3.0, "width_px": 400, "texture_lines": 127}
    loom = Loom(LoomOptions(defects_per_m=20, **settings))
    assert loom.options.smear_px > 3
    changed = loom.render(300, 900) != Loom(LoomOptions(defects_per_m=0, **settings)).render(300, 900)
    for seen in loom.seen_defects(300, 900):
        x1, y1, x2, y2 = seen.box_xyxy_px
        changed[y1:y2, x1:x2] &= seen.mask == 0
    assert not changed.any()


def test_defects_lie_apart_and_between_the_selvedges():
    loom = Loom(small(seed=9, defects_per_m=30))
    planted = loom.planted_between(0.0, 8.0)
    width_mm = (loom.options.right_selvedge_px - loom.options.left_selvedge_px) * loom.options.mm_per_px
    assert len(planted) > 20
    assert len({item.defect_id for item in planted}) == len(planted)
    for number, one in enumerate(planted):
        assert 0 <= one.across_mm[0] < one.across_mm[1] <= width_mm
        for other in planted[number + 1 :]:
            along = max(one.along_m[0] - other.along_m[1], other.along_m[0] - one.along_m[1]) * 1000
            across = max(one.across_mm[0] - other.across_mm[1], other.across_mm[0] - one.across_mm[1])
            assert max(along, across) >= APART_MM - 1e-6


def test_the_ground_truth_up_to_a_place_is_what_was_seen_on_the_way():
    options = small(seed=4, defects_per_m=6, length_m=3.0)
    loom = Loom(options)
    lines = 15_000
    seen = {item.defect_id for line in range(0, lines, 250) for item in loom.seen_defects(line, 250)}
    planted = loom.planted_up_to(3.0)
    assert seen == {item.defect_id for item in planted}
    assert all(item.along_m[1] <= 3.0 for item in planted)
    assert len(loom.planted_up_to(1.0)) < len(planted)


def test_memory_does_not_grow_with_the_roll():
    loom = Loom(small(defects_per_m=10))
    for block in range(500):
        loom.render(block * 256, 256)
    panels, patch_px = loom.kept
    assert panels <= KEPT_PANELS
    assert patch_px <= KEPT_PATCH_PX

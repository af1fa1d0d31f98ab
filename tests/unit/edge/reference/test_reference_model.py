"""The reference model finds what does not belong to cloth, and nothing where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from edge.core.errors import ModelError
from edge.reference.maps import CHANNELS
from edge.reference.model import Look, ReferenceModel, block_maxima
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import Trunk

HEIGHT, WIDTH = 256, 512


def woven(seed: int, *, mean: float = 120.0, contrast: float = 25.0, pitch_px: float = 5.0) -> np.ndarray:
    """Weave plain cloth: warp and weft with yarns that are never quite the same."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    warp = np.sin(2 * np.pi * x / pitch_px + random.normal(0, 0.3, WIDTH).astype(np.float32))
    weft = np.sin(2 * np.pi * y / pitch_px + random.normal(0, 0.3, (HEIGHT, 1)).astype(np.float32))
    grain = random.normal(0, 0.4, (HEIGHT, WIDTH)).astype(np.float32)
    return np.clip(mean + contrast * (warp + weft + grain) / 2, 0, 255).astype(np.uint8)


def with_spot(image: np.ndarray, x: int, y: int, radius: int = 5, by: int = 60) -> np.ndarray:
    """Draw a bright spot."""
    ys, xs = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    spot = (ys - y) ** 2 + (xs - x) ** 2 <= radius**2
    return np.clip(image.astype(int) + by * spot, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return Trunk()


@pytest.fixture(scope="module")
def taught(trunk: Trunk) -> TaughtCloth:
    return TaughtCloth.fit(((woven(seed), None) for seed in range(4)), trunk)


@pytest.fixture(scope="module")
def levels(trunk: Trunk, taught: TaughtCloth) -> dict[str, float]:
    model = ReferenceModel(trunk, taught)
    looks = [model.look(woven(seed), follow=False) for seed in range(10, 16)]
    return {name: 1.4 * max(look.maxima[name] for look in looks) for name in CHANNELS}


def look_at(trunk: Trunk, taught: TaughtCloth, levels: dict[str, float], *images: np.ndarray) -> Look:
    model = ReferenceModel(trunk, taught, levels)
    return [model.look(image) for image in images][-1]


def test_clean_cloth_has_no_region(trunk, taught, levels) -> None:
    for seed in range(20, 24):
        look = look_at(trunk, taught, levels, woven(seed))
        assert len(look.regions) == 0
        assert look.not_judged is None
        assert look.cloth_px > 0.85 * HEIGHT * WIDTH


def test_a_spot_is_one_region_with_a_tight_box(trunk, taught, levels) -> None:
    regions = look_at(trunk, taught, levels, with_spot(woven(30), 200, 120)).regions
    assert len(regions) == 1
    assert regions.ratios[0] > 1
    assert np.abs(regions.boxes_xyxy_px[0] - [195, 115, 206, 126]).max() <= 8


@pytest.mark.parametrize(
    ("across", "shape"), [(True, "weft line"), (False, "warp line")], ids=["pick", "end"]
)
def test_a_missing_yarn_is_a_line_in_its_direction(trunk, taught, levels, across, shape) -> None:
    image = woven(31)
    line = np.s_[120:124, 100:400] if across else np.s_[20:236, 250:254]
    image[line] = 95
    regions = look_at(trunk, taught, levels, image).regions
    assert len(regions) == 1
    assert regions.shapes == (shape,)
    x1, y1, x2, y2 = regions.boxes_xyxy_px[0]
    assert (x2 - x1 > 250 and y2 - y1 < 30) if across else (y2 - y1 > 180 and x2 - x1 < 30)


def test_what_is_not_cloth_is_never_reported(trunk, taught, levels) -> None:
    image, is_cloth = with_spot(woven(32), 100, 120, radius=20), np.ones((HEIGHT, WIDTH), bool)
    is_cloth[:, :180] = False
    assert len(look_at(trunk, taught, levels, image).regions) >= 1
    model = ReferenceModel(trunk, taught, levels)
    look = model.look(image, is_cloth)
    assert len(look.regions) == 0
    assert look.cloth_px < HEIGHT * (WIDTH - 180)


@pytest.mark.parametrize(
    ("grey", "reason"), [(0, "black"), (255, "saturated"), (128, "blank")], ids=["black", "white", "grey"]
)
def test_an_image_without_anything_in_it_is_not_judged(trunk, taught, levels, grey, reason) -> None:
    look = look_at(trunk, taught, levels, np.full((HEIGHT, WIDTH), grey, np.uint8))
    assert (len(look.regions), look.maxima, look.cloth_px, look.fit_distance) == (0, {}, 0, None)
    assert look.not_judged == reason


def test_without_cloth_nothing_is_judged(trunk, taught, levels) -> None:
    look = ReferenceModel(trunk, taught, levels).look(woven(1), np.zeros((HEIGHT, WIDTH), bool))
    assert look.not_judged == "no cloth"


def test_an_unjudged_image_leaves_the_roll_as_it_is(trunk, taught, levels) -> None:
    dark = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert look_at(trunk, taught, levels, woven(40), dark, woven(41)).maxima == (
        look_at(trunk, taught, levels, woven(40), woven(41)).maxima
    )


def test_without_levels_maxima_are_measured_and_nothing_is_reported(trunk, taught) -> None:
    look = ReferenceModel(trunk, taught).look(with_spot(woven(33), 200, 120))
    assert len(look.regions) == 0
    assert set(look.maxima) == set(CHANNELS)


def test_the_same_images_in_the_same_order_give_the_same_to_the_bit(trunk, taught, levels) -> None:
    images = [with_spot(woven(seed), 100 + seed, 120) for seed in range(50, 54)]
    first, second = (look_at(trunk, taught, levels, *images) for _ in range(2))
    assert first.maxima == second.maxima
    assert first.regions.boxes_xyxy_px.tobytes() == second.regions.boxes_xyxy_px.tobytes()
    assert first.regions.ratios.tobytes() == second.regions.ratios.tobytes()


def test_a_look_that_does_not_follow_leaves_the_model_as_it_is(trunk, taught, levels) -> None:
    model = ReferenceModel(trunk, taught, levels)
    model.look(woven(60, contrast=12), follow=False)
    assert model.look(woven(61)).maxima == look_at(trunk, taught, levels, woven(61)).maxima


def test_another_cloth_is_far_from_what_was_taught_and_another_lamp_is_not(trunk, taught, levels) -> None:
    same = look_at(trunk, taught, levels, woven(70)).fit_distance
    lamp = look_at(trunk, taught, levels, woven(70, mean=90, contrast=17)).fit_distance
    other = look_at(trunk, taught, levels, woven(70, pitch_px=7)).fit_distance
    assert lamp < 2 * same
    assert other > 4 * max(same, lamp)


def test_arrays_give_back_what_was_taught(trunk, taught) -> None:
    again = TaughtCloth.from_arrays(taught.arrays(), trunk)
    image = with_spot(woven(80), 200, 120)
    assert (
        ReferenceModel(trunk, again).look(image).maxima == ReferenceModel(trunk, taught).look(image).maxima
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trunk_digest", np.array("0" * 64)),
        ("total", np.zeros(3)),
        ("products", np.full((40, 40), np.nan)),
        ("crests", np.zeros(len(CHANNELS))),
        ("channels", np.array(["other"])),
    ],
)
def test_damaged_arrays_are_refused(trunk, taught, name, value) -> None:
    with pytest.raises(ModelError, match="Teach the article again"):
        TaughtCloth.from_arrays({**taught.arrays(), name: value}, trunk)


def test_a_missing_array_is_refused(trunk, taught) -> None:
    arrays = taught.arrays()
    del arrays["crests"]
    with pytest.raises(ModelError, match="crests"):
        TaughtCloth.from_arrays(arrays, trunk)


def test_what_an_older_version_taught_is_refused_as_such(trunk, taught):
    arrays = taught.arrays()
    del arrays["heights"]
    with pytest.raises(ModelError, match="taught with other features than this version computes"):
        TaughtCloth.from_arrays(arrays, trunk)


def test_nothing_is_learnt_from_no_cloth(trunk) -> None:
    with pytest.raises(ValueError, match="enough cloth"):
        TaughtCloth.fit([(np.zeros((256, 256), np.uint8), None)], trunk)


def test_an_image_says_what_is_largest_in_each_block_of_its_width():
    excess = {"spot": np.zeros((8, 150), np.float32)}
    excess["spot"][3, 65], excess["spot"][5, 145] = 4, 2
    is_judged = np.ones((8, 150), bool)
    is_judged[:, :50] = False  # all of the first block is left out but a quarter
    assert block_maxima(excess, is_judged)["spot"].tolist() == [4]
    is_judged[:] = True
    assert block_maxima(excess, is_judged)["spot"].tolist() == [0, 4]


def banded(random: np.random.Generator, fraction: float, by: float) -> np.ndarray:
    """Return values of a channel with a band over a fraction of the width, in the middle of the height."""
    values = random.uniform(0.9, 1.1, (64, 256)).astype(np.float32)
    values[30:34, : round(256 * fraction)] += np.float32(by)
    return values


def test_a_band_over_most_of_the_width_raises_the_level_of_its_image_and_a_shorter_one_does_not(taught):
    short, long = (
        float(taught.excess("spot", banded(np.random.default_rng(0), fraction, 0.8)).max())
        for fraction in (0.3, 0.9)
    )
    none = float(taught.excess("spot", banded(np.random.default_rng(0), 0, 0)).max())
    assert short > 4 * none
    assert long < 0.75 * short


def test_a_defect_as_wide_as_the_image_does_not_become_usual(taught):
    weak, strong = (
        float(taught.excess("spot", banded(np.random.default_rng(0), 1, by)).max()) for by in (2, 20)
    )
    assert strong > 8 * weak


def test_cloth_twice_as_uneven_exceeds_the_usual_by_the_root_of_two(taught):
    noise = np.random.default_rng(0).normal(0, 1, (64, 256)).astype(np.float32)
    unit = taught.crests["spot"] / 2.5  # about how far the greatest of 64 goes
    once, twice = (taught.excess("spot", 9 + noise * np.float32(unit * k)).max() for k in (0.05, 0.1))
    even, uneven = (taught.excess("spot", 9 + noise * np.float32(unit * k)).max() for k in (1, 2))
    assert uneven == pytest.approx(even * 2**0.5, rel=1e-3)
    assert twice == pytest.approx(once * 2, rel=1e-3)  # below what is taken as noise at all


def test_a_narrow_image_has_the_unit_of_its_article(taught):
    noise = np.random.default_rng(0).normal(0, 1, (64, 255)).astype(np.float32)
    unit = taught.crests["spot"] / 2.5
    even, uneven = (taught.excess("spot", 9 + noise * np.float32(unit * k)).max() for k in (1, 2))
    assert uneven == pytest.approx(even * 2, rel=1e-3)


def test_a_wide_image_has_the_features_that_it_has_in_one_go(trunk, monkeypatch) -> None:
    image = np.hstack([woven(seed)[:, :-3] for seed in range(40, 43)])
    in_parts = trunk.features(image)
    monkeypatch.setattr("edge.reference.trunk.PART_PX", 4096)
    at_once = trunk.features(image)
    assert in_parts.vectors.shape == (trunk.channels, HEIGHT // 4, -(-image.shape[1] // 4))
    np.testing.assert_array_equal(in_parts.is_judged, at_once.is_judged)
    judged = at_once.is_judged
    np.testing.assert_allclose(in_parts.vectors[:, judged], at_once.vectors[:, judged], atol=1e-3)


def test_what_lies_beyond_the_border_changes_nothing_that_is_judged(trunk, monkeypatch) -> None:
    image = woven(44)
    narrow = trunk.features(image)
    monkeypatch.setattr("edge.reference.trunk.AROUND_PX", 16)
    monkeypatch.setattr("edge.reference.trunk.ABOVE", 4)
    wide = trunk.features(image)
    judged = narrow.is_judged
    scale = wide.vectors[:, judged].std()
    assert np.abs(narrow.vectors[:, judged] - wide.vectors[:, judged]).max() < 0.1 * scale


def test_matrix_products_of_a_look_take_no_core_from_the_detector() -> None:
    with threadpool_limits(2, user_api="blas"):
        Trunk()
        assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {1}


def reached(trunk: Trunk, taught: TaughtCloth, levels: dict[str, float], image: np.ndarray) -> set[str]:
    """Return the channels that reach their level."""
    look = look_at(trunk, taught, levels, image)
    return {name for name in CHANNELS if look.maxima[name] >= levels[name]}


def test_a_speck_as_small_as_a_yarn_stands_out_of_the_weave(trunk, taught, levels) -> None:
    image = with_spot(woven(35), 200, 120, radius=2, by=40)
    assert reached(trunk, taught, levels, image) == {"speck"}
    (box,) = look_at(trunk, taught, levels, image).regions.boxes_xyxy_px
    assert np.abs(box.reshape(2, 2).mean(axis=0) - 200.5 + (0, 80)).max() <= 3
    assert (box[2:] - box[:2]).max() <= 12


def test_a_faint_pick_adds_up_along_its_length(trunk, taught, levels) -> None:
    image = woven(36).astype(int)
    image[120:123, 20:480] += 14
    assert "pick" in reached(trunk, taught, levels, image.clip(0, 255).astype(np.uint8))
    levels = levels | dict.fromkeys(set(CHANNELS) - {"pick"}, 1e6)
    regions = look_at(trunk, taught, levels, image.clip(0, 255).astype(np.uint8)).regions
    assert set(regions.shapes) == {"weft line"}


def test_a_crease_stands_out_in_its_own_direction(trunk, taught, levels) -> None:
    crease = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.line(crease, (150, 60), (270, 180), [1.0], 3)
    image = (woven(35).astype(int) - 16 * crease).clip(0, 255).astype(np.uint8)
    look = look_at(trunk, taught, levels, image)
    ratios = {name: look.maxima[name] / levels[name] for name in CHANNELS}
    assert max(ratios, key=lambda name: ratios[name]) == "slant"
    assert look.regions.shapes == ("area",)
    assert np.abs(look.regions.boxes_xyxy_px[0] - (150, 60, 271, 181)).max() <= 12


@pytest.mark.parametrize("height", [56, 64, 100])
def test_cloth_lower_than_a_line_is_judged_by_shorter_lines(trunk, height) -> None:
    images = [woven(seed)[:height] for seed in range(4)]
    taught = TaughtCloth.fit(((image, None) for image in images[:3]), trunk)
    look = ReferenceModel(trunk, taught).look(images[3])
    assert set(look.maxima) == set(CHANNELS)
    assert look.maxima["end"] > 0

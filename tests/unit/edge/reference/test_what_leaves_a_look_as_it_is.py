"""What moves, lightens or lengthens a defect changes where it is reported and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from edge.reference.maps import CHANNELS
from edge.reference.model import ReferenceModel
from edge.reference.statistics import Moments, divergence
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import Trunk

SIDE = 256


def woven(seed: int) -> np.ndarray:
    """Weave plain cloth with yarns that are never quite the same."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    warp = np.sin(2 * np.pi * x / 5 + random.normal(0, 0.3, SIDE).astype(np.float32))
    weft = np.sin(2 * np.pi * y / 5 + random.normal(0, 0.3, (SIDE, 1)).astype(np.float32))
    grain = random.normal(0, 0.4, (SIDE, SIDE)).astype(np.float32)
    return np.clip(120 + 12 * (warp + weft + grain), 0, 255).astype(np.uint8)


def with_nep(image: np.ndarray, x: int, y: int, by: int = 70) -> np.ndarray:
    """Put a nep of 5 x 5 px on cloth, its middle at a pixel."""
    spotted = image.astype(int)
    spotted[y - 2 : y + 3, x - 2 : x + 3] += by
    return np.clip(spotted, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> ReferenceModel:
    trunk = Trunk()
    taught = TaughtCloth.fit(((woven(seed), None) for seed in range(4)), trunk)
    clean = ReferenceModel(trunk, taught)
    looks = [clean.look(woven(seed), follow=False) for seed in range(10, 16)]
    levels = {name: 1.2 * max(look.maxima[name] for look in looks) for name in CHANNELS}
    return ReferenceModel(trunk, taught, levels)


@pytest.mark.parametrize(("x", "y"), [(80, 60), (81, 62), (150, 190), (203, 131)])
def test_the_box_of_a_nep_moves_with_it_and_stays_tight(model, x, y):
    regions = model.look(with_nep(woven(30), x, y), follow=False).regions
    assert (len(regions), regions.shapes) == (1, ("spot",))
    x1, y1, x2, y2 = regions.boxes_xyxy_px[0]
    assert abs((x1 + x2) / 2 - (x + 0.5)) <= 4
    assert abs((y1 + y2) / 2 - (y + 0.5)) <= 4
    assert max(x2 - x1, y2 - y1) <= 16


def test_half_the_light_leaves_the_regions_as_they_are(model):
    image = with_nep(woven(31), 120, 100)
    bright, dark = (model.look(one, follow=False).regions for one in (image, image // 2))
    assert len(bright) == len(dark) == 1
    assert np.abs(bright.boxes_xyxy_px - dark.boxes_xyxy_px).max() <= 4
    assert dark.ratios[0] == pytest.approx(bright.ratios[0], rel=0.2)


def test_a_defect_is_still_reported_after_a_hundred_images_of_it(model):
    model.restart()
    first = last = 0.0
    for number in range(100):  # 5 m at 0.2 mm per pixel
        image = woven(100 + number % 10)
        image[:, 120:126] = 80
        regions = model.look(image).regions
        assert len(regions) >= 1
        ratio = float(regions.ratios.max())
        first, last = (ratio, ratio) if number == 0 else (first, ratio)
    model.restart()
    assert last > 0.8 * first


def test_sums_over_parts_are_the_sums_over_all():
    vectors = np.random.default_rng(0).normal(2, 3, (5, 1000)).astype(np.float32)
    whole = Moments.of(vectors)
    parts = Moments.of(vectors[:, :137]) + Moments.of(vectors[:, 137:600]) + Moments.of(vectors[:, 600:])
    assert parts.count == whole.count
    np.testing.assert_allclose(parts.mean, vectors.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(parts.covariance, np.cov(vectors, bias=True), rtol=1e-4, atol=1e-4)
    assert divergence(parts, whole) < 1e-6


def test_a_wide_image_has_the_features_of_its_parts():
    trunk, image = Trunk(), np.concatenate([woven(seed) for seed in range(5)], axis=1)
    wide = trunk.features(image).vectors
    part = trunk.features(np.ascontiguousarray(image[:, 384:896])).vectors
    inner = slice(32, 96)  # further from the border than the window of the contrast
    np.testing.assert_allclose(wide[:, :, 96:][:, :, inner], part[:, :, inner], atol=1e-3)

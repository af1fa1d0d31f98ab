"""The look `drawn` weaves what it always wove: detectors were trained on it, and rolls are scored on it."""

import cv2
import numpy as np
import pytest

from edge.core.taxonomy import load_taxonomy
from edge.dataset.image import draw_image
from edge.dataset.options import DatasetOptions
from edge.simulator.loom import Loom
from edge.simulator.options import LoomOptions
from tests.golden.stored import CURE, FOLDER

NAME = "drawn-cloth.png"


def woven_today():
    """Return pieces of rolls with defects and of a data set, one below the other, in grey."""
    settings = {"width_px": 320, "texture_lines": 127, "defects_per_m": 20}
    rolls = [
        Loom(LoomOptions(seed=seed, weave=weave, **settings))
        for seed, weave in enumerate(("plain", "twill"))
    ]
    coloured = Loom(LoomOptions(seed=3, colour=True, **settings)).render(250, 64)
    options = DatasetOptions(images=2, seed=5, size_hw=(128, 320))
    return np.vstack([
        *(roll.render(300, 96) for roll in rolls),
        coloured[..., 0],
        draw_image(options, load_taxonomy(), 1).image,
    ])  # fmt: skip


def test_old_seeds_weave_the_cloth_that_is_stored(request):
    today, path = woven_today(), FOLDER / NAME
    if request.config.getoption("--regenerate"):
        cv2.imwrite(str(path), today)
    stored = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert stored is not None, CURE
    assert stored.shape == today.shape
    off = np.abs(stored.astype(int) - today)
    assert off.max() <= 1, CURE  # one grey level: kernels of other processors round otherwise
    assert (off > 0).mean() < 0.01, CURE


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_the_drawn_look_is_the_default_and_its_bytes_are_the_same_by_name(colour):
    settings = {"seed": 9, "width_px": 320, "texture_lines": 127, "defects_per_m": 10, "colour": colour}
    by_name = Loom(LoomOptions(look="drawn", pattern="solid", **settings)).render(100, 300)
    assert np.array_equal(Loom(LoomOptions(**settings)).render(100, 300), by_name)
    woven = Loom(LoomOptions(look="woven", **settings)).render(100, 300)
    assert not np.array_equal(woven, by_name)

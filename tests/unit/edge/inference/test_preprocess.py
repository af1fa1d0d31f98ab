from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.core.contract import Clahe, GlobalEqualisation, NoEnhancement, Normalisation
from edge.core.geometry import View, letterbox_view
from edge.inference.preprocess import Preprocessor, cut_view, resize
from tests.conftest import bright_cell_contract


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


WHOLE = View(0, 0, 64, 64)


def test_clahe_is_opencvs_after_scaling():
    contract = bright_cell_contract(enhancement=Clahe(clip_limit=4, grid_hw=(2, 4)))
    frame = noise(128, 128)
    expected = cv2.createCLAHE(4, (4, 2)).apply(cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA))
    batch = Preprocessor(contract).batch(frame, [View(0, 0, 128, 128, 0.5)])
    assert batch.shape == (1, 1, 64, 64)
    assert np.allclose(batch[0, 0], expected / 255, atol=1e-6)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_colour_order(order):
    frame = noise(64, 64, 3)
    contract = bright_cell_contract(colour_order=order)
    planes = Preprocessor(contract).batch(frame, [WHOLE])[0]
    wanted = frame if order == "bgr" else frame[..., ::-1]
    assert np.allclose(planes, wanted.transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize("enhancement", [Clahe(), GlobalEqualisation()])
def test_luma_enhancement_leaves_hue_alone(enhancement):
    ramp = np.linspace(60, 120, 64, dtype=np.uint8)
    frame = np.dstack([np.tile(ramp, (64, 1))] * 3)
    frame[..., 2] += 40
    image = Preprocessor(bright_cell_contract(colour_order="bgr", enhancement=enhancement)).image(
        frame, WHOLE
    )
    before, after = (cv2.cvtColor(p, cv2.COLOR_BGR2YCrCb)[10:54, 10:54] for p in (frame, image))
    assert np.ptp(after[..., 0]) > np.ptp(before[..., 0])
    unclipped = (image[10:54, 10:54].max(axis=2) < 255) & (image[10:54, 10:54].min(axis=2) > 0)
    assert np.abs(after[..., 1:].astype(int) - before[..., 1:])[unclipped].max() <= 3


def test_a_grey_frame_fills_three_channels_and_a_colour_frame_one():
    grey = noise(64, 64)
    planes = Preprocessor(bright_cell_contract(colour_order="rgb")).batch(grey, [WHOLE])[0]
    assert (planes[0] == planes[1]).all()
    assert (planes[0] == planes[2]).all()
    colour = noise(64, 64, 3)
    plane = Preprocessor(bright_cell_contract()).batch(colour, [WHOLE])[0, 0]
    assert np.allclose(plane, cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY) / 255, atol=1e-6)


def test_normalisation():
    contract = bright_cell_contract(normalisation=Normalisation(scale=1 / 255, mean=0.5, std=0.25))
    frame = np.full((64, 64), 255, np.uint8)
    assert np.allclose(Preprocessor(contract).batch(frame, [WHOLE]), 2.0)


def test_what_a_tile_lacks_is_reflected():
    frame = noise(40, 50)
    cut = cut_view(frame, View(0, 0, 50, 40), (64, 64))
    assert cut.shape == (64, 64)
    assert (cut[:40, :50] == frame).all()
    assert (cut[40, :50] == frame[38]).all()


def test_a_single_pixel_can_be_cut():
    assert cut_view(noise(1, 1), View(0, 0, 1, 1), (64, 64)).shape == (64, 64)


def test_letterbox_pads_on_both_sides():
    frame = np.full((32, 64), 9, np.uint8)
    frame[0] = 200
    cut = cut_view(frame, letterbox_view((32, 64), (64, 64)), (64, 64))
    assert (cut[16] == 200).all()
    assert (cut[17:47] == 9).all()


@pytest.mark.parametrize("size", [(1080, 2048), (1081, 2047), (200, 4000), (700, 650)])
def test_shrinking_does_not_alias(size):
    """A weave of one pixel averages out; interpolation alone would leave moire."""
    weave = (np.indices(size).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize(weave, (max(1, size[0] // 4), size[1] // 4))
    assert abs(float(small.mean()) - 127.5) < 3
    assert small.std() < 20


def test_the_batch_holds_every_view_and_its_memory_is_reused():
    preprocessor = Preprocessor(bright_cell_contract(enhancement=NoEnhancement()))
    frame = noise(64, 128)
    first = preprocessor.batch(frame, [WHOLE, View(64, 0, 128, 64)])
    assert np.allclose(first[1, 0], frame[:, 64:] / 255, atol=1e-6)
    for views in ([WHOLE, WHOLE], [WHOLE]):  # batches of a frame differ in size
        assert np.shares_memory(preprocessor.batch(frame, views), first)

"""Decoding beside the network gives what the graph's own decoding gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.detector.head import wrapped
from distill.detector.ported import RawHead
from distill.detector.yolox_head import YoloxHead
from distill.ultralytics_door import Detect
from edge.backends.raw_outputs import answer_of

CHANNELS = 16


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def head_of(kind: str, classes: int, strides: list[int], bins: int) -> torch.nn.Module:
    channels = [CHANNELS] * len(strides)
    if kind == "offset":
        head = YoloxHead(classes, channels, strides)
    else:
        head = Detect(classes, bins, ch=channels)
        head.stride = torch.tensor(strides, dtype=torch.float32)
    head.i, head.f = 1, -1
    return head.eval()


def in_graph(head: torch.nn.Module, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes and scores as `distill.detector.build.infer` does."""
    said = head(features)[0].transpose(1, 2)
    centres, sides, scores = said[..., :2], said[..., 2:4], said[..., 4:]
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=-1), scores


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["distribution", "offset"]),
    images=st.integers(1, 3),
    classes=st.integers(1, 5),
    bins=st.integers(4, 20),
    cells_hw=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.lists(st.sampled_from([4, 8, 16, 32]), min_size=1, max_size=3, unique=True).map(sorted),
    loudness=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 99),
)
def test_any_head_with_any_levels(kind, images, classes, bins, cells_hw, strides, loudness, seed):
    torch.manual_seed(seed)
    head = head_of(kind, classes, strides, bins)
    finest = strides[-1] // torch.tensor(strides) * torch.tensor(cells_hw)[:, None]
    features = [torch.randn(images, CHANNELS, *side.tolist()) * loudness for side in finest.T]
    with torch.inference_mode():
        expected = in_graph(head, features)
        maps = RawHead(head)(features)
    outputs = wrapped(head).raw_outputs()
    got = answer_of([one.numpy() for one in maps], outputs)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.dtype == np.float32
        assert ours.flags.c_contiguous
        # A float32 knows exp(60) to 4e-6 and 1,000 px to 6e-5; a wrong bin is a stride away.
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=2e-3)


def test_logits_that_are_no_numbers_stay_none():
    torch.manual_seed(0)
    head = head_of("distribution", 2, [8], 4)
    maps = [np.full((1, 16, 2, 2), np.inf, np.float32), np.full((1, 2, 2, 2), np.nan, np.float32)]
    boxes, scores = answer_of(maps, wrapped(head).raw_outputs())
    assert np.isnan(boxes).all()
    assert np.isnan(scores).all()

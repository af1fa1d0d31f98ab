"""Regions by products of matrices are those of torchvision's ROIAlign, and so is the way back."""

from __future__ import annotations

import pytest
import torch
import torchvision.ops
from hypothesis import given
from hypothesis import strategies as st

from distill.gid.roi_align import roi_align

corner = st.floats(-20, 100, width=32)


@given(
    st.lists(st.tuples(st.integers(0, 2), corner, corner, corner, corner), max_size=8),
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([1 / 8, 1 / 16]), st.integers(0, 99),
)  # fmt: skip
def test_it_is_torchvisions(rows, height, width, scale, seed):
    rois = torch.tensor([(i, min(a, c), min(b, d), max(a, c), max(b, d)) for i, a, b, c, d in sorted(rows)])
    rois = rois.reshape(-1, 5).float()
    level = torch.randn(3, 4, height, width, generator=torch.Generator().manual_seed(seed))
    ours, theirs = (level.clone().requires_grad_() for _ in range(2))
    found = roi_align(ours, rois, 5, scale, 2)
    expected = torchvision.ops.roi_align(theirs, rois, 5, scale, 2, aligned=True)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(seed))
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("box", [(500, 500, 600, 600), (-900, 0, -800, 40)])
def test_a_region_beside_the_map_is_empty(box):
    level = torch.ones(1, 2, 8, 8)
    assert not roi_align(level, torch.tensor([[0, *box]]).float(), 4, 1 / 8, 2).any()

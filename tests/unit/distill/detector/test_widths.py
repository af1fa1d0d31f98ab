from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from distill.checkpoint import Checkpoint, load_detector, write_checkpoint
from distill.detector.build import build_module, count_macs
from distill.gid.batch_outputs import channels_of
from distill.gid.feature import Adapters
from distill.settings.structure import DetectorStructure
from edge.core.errors import CheckpointError
from tests.unit.distill.detector.small_heads import widths_of
from tests.unit.distill.prune.small import HEADS, SIZE_HW_PX, halved, structure_with
from tests.unit.distill.tiny import tiny_contract, untrained_checkpoint

torch.set_num_threads(1)


def narrower(structure, fraction=2):
    """Halve the first two convolutions' shared channels by hand."""
    widths = {name: (out, inn) for name, out, inn in widths_of(build_module(structure))}
    first, second = widths["model.0.conv"], widths["model.1.conv"]
    changed = (
        ("model.0.conv", first[0] // fraction, first[1]),
        ("model.1.conv", second[0], second[1] // fraction),
    )
    return structure.model_copy(update={"widths": changed})


@pytest.mark.parametrize("head", HEADS)
def test_a_detector_is_built_with_the_widths_of_its_structure(head):
    structure = narrower(structure_with(head))
    module = build_module(structure)
    assert module.model[0].conv.out_channels == module.model[0].bn.num_features == 4
    assert module.model[1].conv.in_channels == 4
    whole = build_module(structure_with(head))
    assert count_macs(module, (1, 64, 64)) < count_macs(whole, (1, 64, 64))
    assert module.model[0].bn.eps == whole.model[0].bn.eps
    assert module.model[0].bn.momentum == whole.model[0].bn.momentum


def test_widths_come_back_exactly_from_json_and_are_hashable():
    structure = structure_with(widths=widths_of(build_module(structure_with())))
    again = DetectorStructure.model_validate_json(structure.model_dump_json())
    assert again == structure
    assert hash(again) == hash(structure)


def test_a_structure_from_before_widths_has_none():
    old = structure_with().model_dump(exclude={"widths"})
    assert DetectorStructure(**old).widths is None


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((("model.99.conv", 4, 1),), "no convolution 'model.99.conv'"),
        ((("model.0.bn", 4, 1),), "no convolution 'model.0.bn'"),
        ((("model.0.conv", 4, 1),), "model.1.conv takes 8 channels and gets 4"),
        ((("model.0.conv", 16, 1),), "cannot grow"),
        ((("model.2.m.0.cv2.conv", 4, 8),), "adds maps of different channels"),
        ((("model.24.cv3.0.2", 2, 32),), "cannot change"),
    ],
    ids=["unknown", "norm", "does not chain", "grows", "shortcut", "says one class less"],
)
def test_widths_that_do_not_fit_are_refused(widths, message):
    with pytest.raises(ValueError, match=message):
        build_module(structure_with(widths=widths))


def test_colours_cannot_be_pruned():
    with pytest.raises(ValueError, match="image"):
        build_module(structure_with(channels=3, widths=(("model.0.conv", 8, 1),)))


@pytest.mark.parametrize(
    "widths",
    [(), (("model.0.conv", 0, 1),), (("", 4, 1),), (("a", 4, 1), ("a", 4, 1))],
    ids=["empty", "no channel", "no name", "twice"],
)
def test_widths_that_make_no_sense_are_no_structure(widths):
    with pytest.raises(ValueError, match="widths"):
        structure_with(widths=widths)


def test_a_checkpoint_keeps_its_widths(tmp_path):
    structure = narrower(structure_with())
    weights = build_module(structure).state_dict()
    write_checkpoint(tmp_path / "best.pt", Checkpoint(structure, weights, tiny_contract()))
    detector = load_detector(tmp_path / "best.pt")
    assert detector.checkpoint.structure == structure
    assert all(torch.equal(weights[name], tensor) for name, tensor in detector.module.state_dict().items())


def test_a_checkpoint_whose_widths_do_not_chain_is_refused_in_one_line(tmp_path):
    checkpoint = untrained_checkpoint()
    broken = halved(checkpoint.structure, "model.0.conv")
    write_checkpoint(tmp_path / "best.pt", replace(checkpoint, structure=broken))
    with pytest.raises(CheckpointError, match=r"takes 8 channels and gets 4") as caught:
        load_detector(tmp_path / "best.pt")
    assert "\n" not in str(caught.value)


def test_adapters_take_the_channels_of_a_narrow_neck():
    structure = structure_with("coupled")
    widths = {name: (out, inn) for name, out, inn in widths_of(build_module(structure))}
    out, inn = widths["model.23.cv3.conv"]
    head_out, _ = widths["model.24.m.2"]
    changed = (("model.23.cv3.conv", out // 2, inn), ("model.24.m.2", head_out, out // 2))
    module = build_module(structure.model_copy(update={"widths": changed})).eval()
    with torch.no_grad():
        features = module(torch.zeros(1, 1, *SIZE_HW_PX))[1]["feats"]
    channels = channels_of(features)
    assert channels[2] == out // 2
    adapted = Adapters(channels, [8, 8, 8])(features)
    assert [level.shape[1] for level in adapted] == [8, 8, 8]

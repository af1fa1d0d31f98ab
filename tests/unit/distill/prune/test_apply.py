from __future__ import annotations

import pytest
import torch

from distill.checkpoint import Checkpoint, load_detector, weights_digest, write_checkpoint
from distill.detector.build import count_macs
from distill.prune import check
from distill.prune.apply import cut, masked
from distill.prune.check import TOLERANCE, check_cut
from distill.prune.plan import plan_for_macs
from edge.core.errors import ConfigError, PruningError
from tests.unit.distill.prune.small import HEADS, SIZE_HW_PX, lively, structure_with
from tests.unit.distill.tiny import tiny_contract

torch.set_num_threads(1)


def planned(kind="decoupled", fraction=0.5, **changes):
    structure = structure_with(kind, **changes)
    module = lively(structure)
    return module, structure, plan_for_macs(module, structure, fraction, input_size_hw_px=SIZE_HW_PX)


def kept_as(plan, **changes):
    return plan.model_copy(
        update={"kept": {**plan.kept, **{name.replace("_", "."): kept for name, kept in changes.items()}}}
    )


@pytest.fixture(scope="module")
def small():
    return planned()


@pytest.mark.parametrize("head", HEADS)
def test_a_cut_detector_is_what_was_planned(head):
    module, structure, plan = planned(head)
    before = weights_digest(module.state_dict())
    smaller, narrow = cut(module, structure, plan)
    found = check_cut(module, plan, smaller, narrow, tiny_contract())
    assert found.largest_difference <= TOLERANCE
    assert found.macs == plan.macs == count_macs(smaller, (1, *SIZE_HW_PX))
    assert found.parameters == plan.parameters < found.parameters_before
    assert weights_digest(module.state_dict()) == before
    assert structure.widths is None


def test_silenced_channels_change_what_the_detector_says(small):
    module, _, plan = small
    images = torch.rand(1, 1, *SIZE_HW_PX)
    with torch.no_grad():
        whole, silenced = module(images)[1]["boxes"], masked(module, plan)(images)[1]["boxes"]
    assert (whole - silenced).abs().max() > 1e-3


def test_a_cut_detector_is_cut_again(small):
    module, structure, plan = small
    smaller, narrow = cut(module, structure, plan)
    second = plan_for_macs(smaller, narrow, 0.8, input_size_hw_px=SIZE_HW_PX)
    assert second.macs_before == plan.macs
    smallest, narrowest = cut(smaller, narrow, second)
    check_cut(smaller, second, smallest, narrowest, tiny_contract())


def test_a_cut_detector_keeps_the_mode_and_learns(small):
    module, structure, plan = small
    module.train()
    try:
        smaller, _ = cut(module, structure, plan)
    finally:
        module.eval()
    assert smaller.training
    smaller(torch.rand(2, 1, *SIZE_HW_PX))["boxes"].sum().backward()
    assert all(tensor.requires_grad for tensor in smaller.parameters() if tensor.ndim == 1)
    assert smaller.model[0].conv.weight.grad is not None


def test_cutting_leaves_the_random_numbers_alone(small):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    cut(*small)
    assert torch.equal(torch.rand(3), expected)


def test_depthwise_and_grouped_convolutions_are_cut():
    backbone = (
        (-1, 1, "Conv", (128, 3, 2)),
        (-1, 1, "Conv", (256, 3, 2)),
        (-1, 1, "Conv", (256, 3, 1, None, 32)),
        (-1, 1, "C3", (256, True, 4)),
        (-1, 1, "Conv", (256, 3, 2)),
    )
    module, structure, plan = planned(
        fraction=0.6, backbone=backbone, head=(((-1,), 1, "Detect", ("nc",)),)
    )
    assert len(plan.kept["model.2.conv"]) < 32
    assert plan.kept["model.2.conv"] == plan.kept["model.1.conv"]
    check_cut(module, plan, *cut(module, structure, plan), tiny_contract())


def test_a_plan_replays_from_its_json(small):
    module, structure, plan = small
    again = type(plan).model_validate_json(plan.model_dump_json())
    ours, theirs = (cut(module, structure, one)[0].state_dict() for one in (plan, again))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_plan_of_another_structure_is_refused(small):
    module, _, plan = small
    other, other_structure, other_plan = planned("coupled")
    for act in (lambda: cut(other, other_structure, plan), lambda: masked(module, other_plan)):
        with pytest.raises(ConfigError, match="of another detector") as caught:
            act()
        assert "\n" not in str(caught.value)


def test_a_plan_of_another_scale_is_refused(small):
    module, structure, _ = small
    with pytest.raises(ConfigError, match="it keeps channel"):
        cut(module, structure, planned(scale="n", fraction=0.9)[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_0_conv": (0, 99)}, "it keeps channel 99"),
        ({"model_6_cv1_conv": (0, 1, 2)}, "shares its channels"),
        ({"model_99_conv": (0,)}, "model.99.conv"),
    ],
    ids=["no such channel", "tied layer", "no such layer"],
)
def test_a_plan_that_was_edited_badly_is_refused(small, changes, message):
    module, structure, plan = small
    with pytest.raises(ConfigError, match=message):
        cut(module, structure, kept_as(plan, **changes))


def test_a_cut_in_the_wrong_place_is_caught(small):
    """The second part of a joined map is taken from its start: what a script with wrong offsets does."""
    module, structure, plan = small
    smaller, narrow = cut(module, structure, plan)
    reader = smaller.get_submodule("model.13.cv1.conv")
    first = smaller.get_submodule("model.10.conv").out_channels
    second = reader.in_channels - first
    with torch.no_grad():
        source = module.get_submodule("model.13.cv1.conv").weight
        reader.weight[:, first:] = source[list(plan.kept["model.13.cv1.conv"])][:, :second]
    with pytest.raises(PruningError, match="off the masked one"):
        check_cut(module, plan, smaller, narrow, tiny_contract())


@pytest.mark.parametrize("count", ["macs", "parameters"])
def test_other_costs_than_planned_are_caught(small, count):
    module, structure, plan = small
    wrong = plan.model_copy(update={count: getattr(plan, count) + 1})
    with pytest.raises(PruningError, match="planned were"):
        check_cut(module, wrong, *cut(module, structure, plan), tiny_contract())


def test_a_detector_that_reads_back_differently_is_caught(small, monkeypatch):
    module, structure, plan = small
    smaller, narrow = cut(module, structure, plan)

    def written_wrong(path, checkpoint):
        weights = dict(checkpoint.weights)
        weights["model.0.conv.weight"] = weights["model.0.conv.weight"] * 1.5
        write_checkpoint(path, Checkpoint(checkpoint.structure, weights, checkpoint.contract))

    monkeypatch.setattr(check, "write_checkpoint", written_wrong)
    with pytest.raises(PruningError, match="read back"):
        check_cut(module, plan, smaller, narrow, tiny_contract())


def test_a_checkpoint_of_a_cut_detector_gives_it_back(small, tmp_path):
    module, structure, plan = small
    smaller, narrow = cut(module, structure, plan)
    write_checkpoint(tmp_path / "best.pt", Checkpoint(narrow, smaller.state_dict(), tiny_contract()))
    detector = load_detector(tmp_path / "best.pt")
    assert detector.checkpoint.structure == narrow
    assert count_macs(detector.module, (1, *SIZE_HW_PX)) == plan.macs

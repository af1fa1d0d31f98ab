from __future__ import annotations

import pytest
import torch

from distill.checkpoint import weights_digest
from distill.detector.build import count_macs
from distill.detector.channels import channel_graph
from distill.prune.costs import costs_of
from distill.prune.depgraph import depgraph_scores
from distill.prune.importance import group_scores
from distill.prune.plan import PlanOptions, PruningPlan, plan_for_macs, read_plan, write_plan
from distill.prune.search import one_block_less, rounded
from edge.core.errors import ConfigError
from tests.unit.distill.prune.small import HEADS, SIZE_HW_PX, lively, structure_with

torch.set_num_threads(1)

PLANNERS = ("threshold", "depgraph")


@pytest.fixture(scope="module")
def small():
    structure = structure_with()
    return lively(structure), structure


@pytest.fixture(scope="module")
def yolov5s():
    structure = structure_with(scale="s")
    return lively(structure), structure


def plan_of(small, fraction=0.5, **options) -> PruningPlan:
    module, structure = small
    return plan_for_macs(
        module, structure, fraction, input_size_hw_px=SIZE_HW_PX, options=PlanOptions(**options)
    )


@pytest.mark.parametrize(
    ("wanted", "size", "round_to", "expected"),
    [
        (20, 64, 8, 24), (19.9, 64, 8, 16), (0, 64, 8, 8), (64, 64, 8, 64), (100, 64, 8, 64),
        (5, 8, 8, 8), (3, 6, 8, 6), (18, 18, 8, 18), (17.5, 18, 8, 18), (16.9, 18, 8, 16), (33, 40, 32, 32),
        (1, 40, 32, 32),
    ],
)  # fmt: skip
def test_channels_are_rounded_to_the_nearest_that_is_permitted(wanted, size, round_to, expected):
    assert rounded(wanted, size, round_to) == expected


@pytest.mark.parametrize(("count", "expected"), [(24, 16), (18, 16), (16, 8), (8, None), (6, None), (9, 8)])
def test_a_block_less(count, expected):
    assert one_block_less(count, 8) == expected


@pytest.mark.parametrize("head", HEADS)
def test_costs_are_those_that_are_counted(head):
    structure = structure_with(head)
    module = lively(structure)
    costs = costs_of(module, channel_graph(module), (1, 64, 96))
    assert costs.macs(costs.whole) == count_macs(module, (1, 64, 96))
    assert costs.parameters(costs.whole) == sum(tensor.numel() for tensor in module.parameters())


def test_looking_at_costs_leaves_the_mode_alone(small):
    module, _ = small
    module.train()
    try:
        costs_of(module, channel_graph(module), (1, *SIZE_HW_PX))
        assert module.training
    finally:
        module.eval()


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("fraction", [0.7, 0.5, 0.35])
def test_yolov5s_meets_the_target(yolov5s, planner, scope, fraction):
    module, structure = yolov5s
    options = PlanOptions(scope=scope)
    plan = plan_for_macs(
        module, structure, fraction, input_size_hw_px=(256, 256), options=options, planner=planner
    )
    assert abs(plan.macs_share / fraction - 1) <= 0.02
    assert plan.planner == planner


@pytest.mark.parametrize("round_to", [8, 32])
def test_yolov5s_meets_the_target_with_other_roundings(yolov5s, round_to):
    module, structure = yolov5s
    options = PlanOptions(round_to=round_to)
    plan = plan_for_macs(module, structure, 0.5, input_size_hw_px=(256, 256), options=options)
    assert abs(plan.macs_share / 0.5 - 1) <= 0.02
    widths = {name: module.get_submodule(name).out_channels for name in plan.kept}
    assert all(len(kept) == widths[name] or len(kept) % round_to == 0 for name, kept in plan.kept.items())


@pytest.mark.parametrize("head", HEADS)
def test_depgraph_finds_the_same_groups(head):
    module = lively(structure_with(head)).requires_grad_(False)
    graph = channel_graph(module)
    scores = depgraph_scores(module, graph, (1, *SIZE_HW_PX), "l1")
    assert {number: len(values) for number, values in scores.items()} == {
        number: group.size for number, group in enumerate(graph.groups) if group.prunable
    }
    assert not any(tensor.requires_grad for tensor in module.parameters())


def test_depgraph_and_the_description_must_agree(small):
    module, _ = small
    graph = channel_graph(module)
    untied = channel_graph(lively(structure_with(scale="p", backbone=untied_backbone())))
    assert len(untied.groups) > len(graph.groups)
    with pytest.raises(ValueError, match="DepGraph"):
        depgraph_scores(module, untied, (1, *SIZE_HW_PX), "l1")


def untied_backbone():
    """YOLOv5's, but its C3s have no shortcuts."""
    return tuple(
        (source, repeats, kind, (arguments[0], False) if kind == "C3" else arguments)
        for source, repeats, kind, arguments in structure_with().backbone
    )


def test_scores_of_tied_layers_are_averaged(small):
    module, _ = small
    graph = channel_graph(module)
    (group,) = next(one for one in graph.convolutions if one.name == "model.6.cv1.conv").outputs
    gammas = [module.get_submodule(one.norm).weight.detach() for one in graph.makers(group)]
    assert len(gammas) == 4
    expected = torch.stack(gammas).abs().mean(0).double()
    found = group_scores(module, graph, "bn-scale")[group]
    assert torch.allclose(found, expected / expected.mean())


def test_the_channels_of_least_gamma_go(small):
    module, _ = small
    plan = plan_of(small, importance="bn-scale")
    kept = plan.kept["model.7.conv"]
    gamma = module.get_submodule("model.7.bn").weight.detach().abs()
    assert 8 <= len(kept) < len(gamma)
    dropped = [channel for channel in range(len(gamma)) if channel not in kept]
    assert gamma[list(kept)].min() >= gamma[dropped].max()


def test_local_keeps_the_same_fraction_of_every_layer(yolov5s):
    module, structure = yolov5s
    plan = plan_for_macs(
        module, structure, 0.5, input_size_hw_px=(256, 256), options=PlanOptions(scope="local")
    )
    fractions = [
        len(kept) / module.get_submodule(name).out_channels
        for name, kept in plan.kept.items()
        if module.get_submodule(name).out_channels >= 128
    ]
    assert max(fractions) - min(fractions) <= 16 / 128 + 1e-9


def test_planning_leaves_the_detector_alone(small):
    module, _ = small
    before = weights_digest(module.state_dict())
    plan = plan_of(small)
    assert weights_digest(module.state_dict()) == before == plan.source_digest


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("importance", ["bn-scale", "l1"])
def test_a_layer_of_dead_or_equal_channels_is_not_emptied(scope, importance):
    structure = structure_with()
    module = lively(structure)
    with torch.no_grad():
        for name in ("model.5", "model.7"):
            module.get_submodule(f"{name}.bn").weight.zero_()
            module.get_submodule(f"{name}.conv").weight.zero_()
        module.get_submodule("model.3.bn").weight.fill_(1)
    plan = plan_of((module, structure), 0.4, scope=scope, importance=importance)
    assert abs(plan.macs_share / 0.4 - 1) <= 0.02
    assert min(len(kept) for kept in plan.kept.values()) >= 4


def test_equal_scores_do_not_empty_one_layer_first():
    structure = structure_with(scale="n")
    module = lively(structure)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(layer.weight)
    plan = plan_of((module, structure), 0.6, importance="bn-scale")
    fractions = [
        len(kept) / module.get_submodule(name).out_channels
        for name, kept in plan.kept.items()
        if module.get_submodule(name).out_channels >= 64
    ]
    assert min(fractions) >= 0.5


@pytest.mark.parametrize(
    ("fraction", "message"),
    [(0.05, r"least|out of reach"), (0, "cannot be kept"), (1.2, "cannot be kept"), (-1, "cannot be kept")],
)
def test_a_target_out_of_reach_is_refused_in_one_line(small, fraction, message):
    with pytest.raises(ConfigError, match=message) as caught:
        plan_of(small, fraction)
    assert "\n" not in str(caught.value)


def test_the_least_share_named_is_within_reach(small):
    with pytest.raises(ConfigError) as caught:
        plan_of(small, 0.01)
    least = float(caught.value.cure.split()[2])
    assert abs(plan_of(small, least).macs_share / least - 1) <= 0.02


def test_all_can_be_kept(small):
    module, _ = small
    plan = plan_of(small, 1)
    assert plan.macs == plan.macs_before
    assert all(
        kept == tuple(range(module.get_submodule(name).out_channels)) for name, kept in plan.kept.items()
    )


def test_a_plan_comes_back_exactly(small, tmp_path):
    plan = plan_of(small)
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", "not json"],
)
def test_a_file_that_is_no_plan_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ConfigError, match="is not a pruning plan") as caught:
        read_plan(tmp_path / "plan.json")
    assert "\n" not in str(caught.value)


def test_a_missing_plan_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"plan\.json"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("kept", [(), (3, 1), (1, 1), (-1, 2)], ids=["none", "order", "twice", "negative"])
def test_channels_that_make_no_sense_are_no_plan(small, kept):
    values = plan_of(small).model_dump()
    values["kept"]["model.0.conv"] = kept
    with pytest.raises(ValueError, match=r"kept|ascending"):
        PruningPlan(**values)

"""Whatever detector and whatever ratio: the cut model runs and is what its plan says."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from distill.detector.build import count_macs
from distill.detector.channels import channel_graph
from distill.prune.apply import cut
from distill.prune.check import check_cut
from distill.prune.costs import costs_of
from distill.prune.depgraph import depgraph_scores
from distill.prune.plan import PlanOptions, PruningPlan, plan_for_macs
from distill.prune.search import least_counts
from distill.settings.structure import YOLOV5_ANCHORS, DetectorStructure
from tests.unit.distill.prune.small import SIZE_HW_PX, lively
from tests.unit.distill.tiny import tiny_contract

torch.set_num_threads(1)

channels = st.sampled_from([64, 128, 192, 320, 448])
slow = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes and tells little
)


@st.composite
def structures(draw) -> DetectorStructure:
    """Draw backbones with and without C3 and SPPF, necks that join maps, and any of the heads."""
    head = draw(st.sampled_from(["decoupled", "yolox", "coupled"]))
    backbone = [(-1, 1, "Conv", (draw(channels), 3, 2)), (-1, 1, "Conv", (draw(channels), 3, 2))]
    for _ in range(2):
        backbone.append((-1, 1, "Conv", (draw(channels), 3, 2)))
        backbone += draw(st.lists(blocks(), max_size=2))
    coarse, fine = len(backbone) - 1, _last_of_stride_8(backbone)
    neck = [
        (-1, 1, "Conv", (draw(channels), 1, 1)),
        (-1, 1, "nn.Upsample", (None, 2, "nearest")),
        ((-1, fine), 1, "Concat", (1,)),
        (-1, draw(st.integers(1, 6)), "C3", (draw(channels), draw(st.booleans()))),
    ]
    joined = coarse + len(neck)
    levels = (joined, coarse) if draw(st.booleans()) else (joined,)
    return DetectorStructure(
        family=f"yolov5-{head}",
        scale="p",
        channels=1,
        classes=3,
        backbone=tuple(backbone),
        head=(*neck, (levels, 1, "Detect", ("nc",))),
        anchors=YOLOV5_ANCHORS[: 3 * len(levels)] if head == "coupled" else None,
    )


@st.composite
def blocks(draw):
    if draw(st.booleans()):
        return (-1, 1, "SPPF", (draw(channels), 5, draw(st.integers(1, 3)), draw(st.booleans())))
    return (-1, draw(st.integers(1, 9)), "C3", (draw(channels), draw(st.booleans())))


def _last_of_stride_8(backbone) -> int:
    strided = [number for number, layer in enumerate(backbone) if layer[2] == "Conv"]
    return strided[3] - 1


options = st.builds(
    PlanOptions,
    importance=st.sampled_from(["bn-scale", "l1"]),
    scope=st.sampled_from(["global", "local"]),
    round_to=st.sampled_from([8, 16, 32]),
)


@slow
@given(
    structure=structures(),
    options=options,
    fraction=st.floats(0.05, 1),
    seed=st.integers(0, 99),
    planner=st.sampled_from(["threshold", "depgraph"]),
)
def test_a_cut_detector_is_what_its_plan_says(structure, options, fraction, seed, planner):
    module = lively(structure, seed)
    costs = costs_of(module, channel_graph(module), (structure.channels, *SIZE_HW_PX))
    assume(fraction >= costs.macs(least_counts(costs, options.round_to)) / costs.macs(costs.whole))
    plan = plan_for_macs(
        module, structure, fraction, input_size_hw_px=SIZE_HW_PX, options=options, planner=planner
    )
    assert PruningPlan.model_validate_json(plan.model_dump_json()) == plan
    for name, kept in plan.kept.items():
        width = module.get_submodule(name).out_channels
        assert len(kept) == width or len(kept) % options.round_to == 0
        assert set(kept) <= set(range(width))
    smaller, narrow = cut(module, structure, plan)
    assert DetectorStructure.model_validate_json(narrow.model_dump_json()) == narrow
    found = check_cut(module, plan, smaller, narrow, tiny_contract())
    assert found.macs == plan.macs == count_macs(smaller, (structure.channels, *SIZE_HW_PX))
    assert found.macs <= plan.macs_before


@slow
@given(structure=structures())
def test_depgraph_finds_the_groups_that_the_description_names(structure):
    module = lively(structure)
    graph = channel_graph(module)
    scores = depgraph_scores(module, graph, (structure.channels, *SIZE_HW_PX), "l1")
    prunable = {number: group.size for number, group in enumerate(graph.groups) if group.prunable}
    assert {number: len(values) for number, values in scores.items()} == prunable

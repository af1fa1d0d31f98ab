from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.detector.build import build_module
from distill.detector.channels import channel_graph
from tests.unit.distill.prune.small import HEADS, structure_with

torch.set_num_threads(1)

LAST = {
    "decoupled": {f"model.24.{branch}.{level}.2" for branch in ("cv2", "cv3") for level in range(3)},
    "yolox": {
        f"model.24.{part}.{level}" for part in ("classes", "boxes", "objectness") for level in range(3)
    },
    "coupled": {f"model.24.m.{level}" for level in range(3)},
}


@pytest.fixture(scope="module")
def graphs():
    return {head: channel_graph(build_module(structure_with(head))) for head in HEADS}


def convolutions(graph):
    return {one.name: one for one in graph.convolutions}


@pytest.mark.parametrize("head", HEADS)
def test_every_convolution_is_described_and_only_the_last_ones_keep_all(graphs, head):
    graph = graphs[head]
    module = build_module(structure_with(head))
    described = {one.name for one in graph.convolutions}
    there = {name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
    assert there - described == ({"model.24.dfl.conv"} if head == "decoupled" else set())
    assert described - {one.name for one in graph.prunable} == LAST[head]


@pytest.mark.parametrize("head", HEADS)
def test_the_image_is_not_prunable(graphs, head):
    graph = graphs[head]
    (image,) = convolutions(graph)["model.0.conv"].inputs
    assert graph.groups[image].size == 1
    assert not graph.groups[image].prunable


def test_shortcuts_tie_the_first_convolution_of_a_c3_to_every_bottleneck(graphs):
    found = convolutions(graphs["decoupled"])
    tied = {found[f"model.6.{name}.conv"].outputs for name in ("cv1", "m.0.cv2", "m.1.cv2", "m.2.cv2")}
    assert len(tied) == 1
    assert found["model.6.m.0.cv1.conv"].outputs not in tied
    assert found["model.6.cv3.conv"].inputs == tied.pop() + found["model.6.cv2.conv"].outputs


def test_a_c3_without_shortcuts_ties_nothing(graphs):
    found = convolutions(graphs["decoupled"])
    assert found["model.13.cv1.conv"].outputs != found["model.13.m.0.cv2.conv"].outputs


def test_what_joined_maps_are_made_of(graphs):
    found = convolutions(graphs["decoupled"])
    pooled = found["model.9.cv1.conv"].outputs
    assert found["model.9.cv2.conv"].inputs == pooled * 4
    expected = found["model.10.conv"].outputs + found["model.6.cv3.conv"].outputs
    assert found["model.13.cv1.conv"].inputs == found["model.13.cv2.conv"].inputs == expected
    expected = found["model.18.conv"].outputs + found["model.14.conv"].outputs
    assert found["model.20.cv1.conv"].inputs == expected


def test_the_head_reads_the_neck_level_by_level(graphs):
    for head, first in (("decoupled", "cv2.{}.0.conv"), ("yolox", "stems.{}.conv"), ("coupled", "m.{}")):
        found = convolutions(graphs[head])
        for level, layer in enumerate((17, 20, 23)):
            read = found[f"model.24.{first.format(level)}"].inputs
            assert read == found[f"model.{layer}.cv3.conv"].outputs


BACKBONE = (
    (-1, 1, "Conv", (64, 3, 2)),
    (-1, 1, "Conv", (128, 3, 2)),
)
HEAD = ((-1, 1, "Conv", (128, 3, 2)), ((-1,), 1, "Detect", ("nc",)))


def with_middle(*middle):
    return structure_with(backbone=(*BACKBONE, *middle), head=HEAD)


def test_a_depthwise_convolution_hands_its_channels_on():
    graph = channel_graph(build_module(with_middle((-1, 1, "Conv", (128, 3, 1, None, 16)))))
    one = convolutions(graph)["model.2.conv"]
    assert one.depthwise
    assert one.inputs == one.outputs == convolutions(graph)["model.1.conv"].outputs
    assert graph.groups[one.outputs[0]].prunable


@pytest.mark.parametrize(
    "middle", [(-1, 1, "Conv", (128, 3, 1, None, 4)), (-1, 1, "C3", (128, True, 2))], ids=["Conv", "C3"]
)
def test_grouped_convolutions_keep_all_their_channels(middle):
    graph = channel_graph(build_module(with_middle(middle)))
    grouped = {4: "model.2.conv", 2: "model.2.m.0.cv2.conv"}[middle[3][-1]]
    one = convolutions(graph)[grouped]
    assert not any(graph.groups[group].prunable for group in one.inputs + one.outputs)


def test_a_sum_of_joined_maps_keeps_all_its_channels():
    middle = (
        (-1, 1, "Conv", (128, 3, 1)),
        ((-1, -2), 1, "Concat", (1,)),
        (-1, 1, "SPPF", (256, 5, 3, True)),
    )
    graph = channel_graph(build_module(with_middle(*middle)))
    found = convolutions(graph)
    assert len(found["model.4.cv1.conv"].inputs) == 2
    for group in found["model.4.cv1.conv"].inputs + found["model.4.cv2.conv"].outputs:
        assert not graph.groups[group].prunable


def test_an_unknown_layer_is_named():
    module = build_module(structure_with())
    pool = nn.MaxPool2d(2)
    pool.f = -1
    module.model[3] = pool
    with pytest.raises(ValueError, match=r"model\.3 is a MaxPool2d"):
        channel_graph(module)


def test_joining_along_another_axis_is_refused():
    module = build_module(structure_with())
    module.model[12].d = 2
    with pytest.raises(ValueError, match="axis 2"):
        channel_graph(module)

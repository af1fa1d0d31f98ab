"""Every head: what it gives, what it starts from, how it comes out of a checkpoint."""

from __future__ import annotations

import json
import math

import pytest
import torch
from pydantic import ValidationError

from distill.checkpoint import Checkpoint, load_detector, weights_digest, write_checkpoint
from distill.detector.build import count_macs, infer, traceable_copy
from distill.detector.cells import cell_corners
from distill.detector.coupled_head import CoupledHead
from distill.detector.head import head_outputs
from distill.detector.outputs import cell_centres
from distill.detector.yolox_head import LOG_SIDE_LIMIT, YoloxHead
from distill.settings.structure import YOLOV5_ANCHORS, DetectorStructure
from distill.ultralytics_door import ModelEMA
from tests.unit.distill.detector.small_heads import FAMILIES, input_images, module_of, structure_of
from tests.unit.distill.tiny import tiny_contract


def maps(*sizes_hw):
    return [torch.rand(2, 16, *size) for size in sizes_hw]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_said_in_training_is_what_is_inferred(family):
    module = module_of(family).eval()
    with torch.inference_mode():
        inferred, predictions = module(torch.rand(2, 1, 96, 160))
    outputs = head_outputs(module, predictions)
    boxes = outputs.boxes_xyxy_px
    centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    torch.testing.assert_close(torch.cat([centres, sides], -1), inferred.transpose(1, 2)[..., :4])
    torch.testing.assert_close(outputs.scores, inferred.transpose(1, 2)[..., 4:])
    cells = 12 * 20 + 6 * 10 + 3 * 5
    places = 3 * cells if family == "yolov5-coupled" else cells
    assert inferred.shape == (2, 7, places)
    assert outputs.points_xy_px.shape == (places, 2)
    assert outputs.strides_px.shape == (places,)
    assert [tuple(level.shape[2:]) for level in outputs.features] == [(12, 20), (6, 10), (3, 5)]
    assert (outputs.objectness_logits is None) == (family == "yolov5-decoupled")
    assert (outputs.side_logits is None) == (family != "yolov5-decoupled")
    if family != "yolov5-coupled":  # with anchors a cell is there three times
        assert outputs.points_xy_px[[0, 1, 20]].tolist() == [[4, 4], [12, 4], [4, 12]]
        assert outputs.strides_px.unique().tolist() == [8, 16, 32]
    assert ((outputs.scores >= 0) & (outputs.scores <= 1)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_parameter_and_the_maps(family):
    module = module_of(family).train()
    outputs = head_outputs(module, module(input_images()))
    said = outputs.scores.sum() + outputs.boxes_xyxy_px.sum() + outputs.features[0].sum()
    said.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters()
               if p.requires_grad)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_gives_the_same_detector_again(family, tmp_path):
    structure = structure_of(family)
    module = module_of(family).eval()
    weights = module.state_dict()
    contract = tiny_contract().model_copy(update={"source_digest": weights_digest(weights)})
    write_checkpoint(tmp_path / "best.pt", Checkpoint(structure, weights, contract))
    detector = load_detector(tmp_path / "best.pt")
    assert detector.checkpoint.structure == structure
    with torch.inference_mode():
        for ours, theirs in zip(
            infer(module, input_images()), infer(detector.module, input_images()), strict=True
        ):  # fmt: skip
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_for_the_tracer_and_the_moving_average_say_the_same(family):
    module = module_of(family).eval()
    average = ModelEMA(module).ema
    with torch.inference_mode():
        expected = infer(module, input_images())
        for other in (traceable_copy(module), average):
            for ours, theirs in zip(infer(other, input_images(size=64)), expected, strict=True):
                assert torch.equal(ours, theirs)
    assert count_macs(module, (1, 64, 64)) > 1e6


def test_a_checkpoint_of_before_the_choice_is_a_decoupled_one():
    old = json.loads(DetectorStructure(scale="p", channels=1, classes=3).model_dump_json())
    for key in ("reg_max", "anchors"):
        del old[key]
    structure = DetectorStructure.model_validate(old)
    assert (structure.family, structure.reg_max, structure.anchors) == ("yolov5-decoupled", 16, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"family": "yolov5-magic"}, "yolov5-coupled", id="unknown-family"),
        pytest.param({"family": "yolov5-coupled", "anchors": None}, "anchors belong", id="coupled-without"),
        pytest.param(
            {"family": "yolov5-yolox", "anchors": YOLOV5_ANCHORS}, "anchors belong", id="yolox-with"
        ),
        pytest.param({"anchors": YOLOV5_ANCHORS[:4]}, "4 anchors cannot", id="not-to-be-shared"),
        pytest.param({"anchors": ((0, 5),) * 9}, "greater than 0", id="no-width"),
        pytest.param({"anchors": ((float("nan"), 5),) * 9}, "finite", id="nan"),
        pytest.param({"reg_max": 1}, "greater than or equal to 4", id="reg-max"),
    ],
)
def test_a_structure_that_cannot_be(values, said):
    with pytest.raises(ValidationError, match=said):
        structure_of(values.pop("family", "yolov5-coupled"), **values)


def test_more_bins_reach_farther():
    module = module_of("yolov5-decoupled", reg_max=20)
    assert module.model[-1].reg_max == 20
    assert head_outputs(module, module(input_images())).side_logits.shape[-1] == 20


def test_yolox_starts_with_scores_near_the_prior():
    head = YoloxHead(3, (16, 32, 64), (8, 16, 32))
    prior = -math.log(99)
    assert all(torch.allclose(layer.bias, torch.tensor(prior)) for layer in head.classes)
    assert all(torch.allclose(layer.bias, torch.tensor(prior)) for layer in head.objectness)


def test_yolox_decodes_offsets_and_logs_in_strides():
    head = YoloxHead(1, (16,), (8,))
    logits = torch.tensor([[0.5, 0.25, 0.0, math.log(3)], [0.0, 0.0, 99.0, -99.0]]).T[None]
    boxes = head.boxes_cxcywh_px({"boxes": logits, "feats": maps((1, 2))})
    torch.testing.assert_close(boxes[0, :, 0], torch.tensor([4.0, 2.0, 8.0, 24.0]))
    limits = [8.0, 0.0, 8 * math.exp(LOG_SIDE_LIMIT), 8 * math.exp(-LOG_SIDE_LIMIT)]
    torch.testing.assert_close(boxes[0, :, 1], torch.tensor(limits))


def test_the_coupled_head_decodes_cells_and_anchors_in_their_order():
    head = CoupledHead(2, (16, 16), (8, 16), ((10, 20), (30, 40), (50, 60), (70, 80)))
    features = maps((2, 3), (1, 2))
    places = 2 * 6 + 2 * 2
    boxes = head.boxes_cxcywh_px({"boxes": torch.zeros(1, 4, places), "feats": features})[0].T
    assert boxes[[0, 1, 3]].tolist() == [[4, 4, 10, 20], [12, 4, 10, 20], [4, 12, 10, 20]]
    assert boxes[[6, 12, 13, 14]].tolist() == [
        [4, 4, 30, 40], [8, 8, 50, 60], [24, 8, 50, 60], [8, 8, 70, 80]
    ]  # fmt: skip
    largest = head.boxes_cxcywh_px({"boxes": torch.full((1, 4, places), 99.0), "feats": features})
    assert largest[0, :, 0].tolist() == [1.5 * 8, 1.5 * 8, 40, 80]


def test_the_coupled_head_puts_its_values_where_the_decoding_looks():
    """Only one anchor of one cell is given a bias: it must come out at its own place."""
    head = CoupledHead(2, (4,), (8,), ((10, 20), (30, 40), (50, 60))).train()
    torch.nn.init.zeros_(head.m[0].weight)
    torch.nn.init.zeros_(head.m[0].bias)
    with torch.no_grad():
        head.m[0].bias.view(3, 7)[1] = torch.arange(1.0, 8.0)
    outputs = head([torch.rand(1, 4, 2, 3)])
    assert outputs["boxes"][0, :, 6:12].unique(dim=1).flatten().tolist() == [1, 2, 3, 4]
    assert outputs["objectness"][0, 0].tolist() == [0] * 6 + [5] * 6 + [0] * 6
    assert outputs["scores"][0, :, 6].tolist() == [6, 7]


def test_cells_are_numbered_row_by_row_and_their_centres_lie_half_a_stride_in():
    corners, strides = cell_corners(maps((2, 3), (1, 1)), (8, 16))
    assert corners.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 0]]
    assert strides.tolist() == [8] * 6 + [16]
    centres, _ = cell_centres(tuple(maps((2, 3), (1, 1))), torch.tensor([8.0, 16.0]))
    assert centres[[0, 5, 6]].tolist() == [[4, 4], [20, 12], [8, 8]]

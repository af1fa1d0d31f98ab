"""What a head says in training agrees with what it says when it infers."""

from __future__ import annotations

import torch

from distill.detector.build import build_module
from distill.detector.head import head_outputs
from distill.settings.structure import DetectorStructure


def test_boxes_and_scores_are_those_of_inference():
    torch.manual_seed(0)
    module = build_module(DetectorStructure(scale="p", channels=1, classes=3)).eval()
    with torch.inference_mode():
        inferred, predictions = module(torch.rand(2, 1, 96, 160))
    outputs = head_outputs(module, predictions)
    boxes = outputs.boxes_xyxy_px
    centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    torch.testing.assert_close(torch.cat([centres, sides], -1), inferred.transpose(1, 2)[..., :4])
    torch.testing.assert_close(outputs.scores, inferred.transpose(1, 2)[..., 4:])
    assert [tuple(level.shape[2:]) for level in outputs.features] == [(12, 20), (6, 10), (3, 5)]
    assert outputs.points_xy_px[[0, 1, 20]].tolist() == [[4, 4], [12, 4], [4, 12]]
    assert outputs.strides_px.unique().tolist() == [8, 16, 32]

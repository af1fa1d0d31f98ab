"""Every head comes out of the exporter as it went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.checkpoint import Checkpoint, Detector, infer, weights_digest
from edge.backends.onnxruntime import OnnxRuntimeBackend
from export.onnx import onnx_model, write_onnx
from export.parity import BOX_TOLERANCE_PX, SCORE_TOLERANCE, check_parity
from tests.unit.distill.detector.small_heads import FAMILIES, SHORT, module_of, structure_of
from tests.unit.distill.tiny import tiny_contract, tiny_recipe


def answering(family) -> torch.nn.Module:
    """Build a detector that answers to its input, and is sure enough to report something."""
    module = module_of(family, **SHORT).train()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.5
    with torch.no_grad():
        for _ in range(3):
            module(torch.rand(8, 1, 64, 64))
        head = module.model[-1]
        if family == "yolov5-coupled":
            for layer in head.m:
                layer.bias.view(3, -1)[:, 4:] = 1.5
        else:
            sayers = head.classes if family == "yolov5-yolox" else [branch[-1] for branch in head.cv3]
            for layer in (*sayers, *getattr(head, "objectness", ())):
                layer.weight *= 5
                layer.bias[:] = 1.0
    return module.eval()


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exported_model_says_what_its_checkpoint_says(family, tmp_path):
    size_hw = (64, 96)
    module = answering(family)
    contract = tiny_contract(tiny_recipe(input_size_hw_px=size_hw))
    weights = module.state_dict()
    contract = contract.model_copy(update={"source_digest": weights_digest(weights)})
    checkpoint = Checkpoint(structure_of(family, **SHORT), weights, contract)
    detector = Detector(module, contract, checkpoint, "0" * 64)
    tiles = np.random.default_rng(0).random((8, 1, *size_hw), np.float32)
    write_onnx(onnx_model(detector, contract), tmp_path / "model.onnx")
    report = check_parity(detector, tmp_path / "model.onnx", contract, tiles)
    assert report.boxes_max_px < BOX_TOLERANCE_PX / 5
    assert report.scores_max < SCORE_TOLERANCE / 5
    assert report.detections > 0
    with OnnxRuntimeBackend(tmp_path / "model.onnx", contract) as backend, torch.inference_mode():
        found = backend.infer(tiles[:2])
        for ours, theirs in zip(infer(module, torch.from_numpy(tiles[:2])), found, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, atol=BOX_TOLERANCE_PX)

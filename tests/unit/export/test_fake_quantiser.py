"""A detector that is trained for INT8 computes what its INT8 export computes, and gains by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.checkpoint import Checkpoint, Detector, infer
from distill.training.fake_quantiser import (
    GREATEST,
    FakeQuantised,
    quantised_convolutions,
    rounded_weights,
    rounding_of,
)
from export.graph import convolutions
from export.onnx import onnx_model
from export.quantize import absolute_ranges, calibrated, quantised
from export.sensitivity import answer_error, answering
from tests.unit.distill.detector.small_heads import FAMILIES, SHORT, structure_of
from tests.unit.distill.tiny import tiny_contract, tiny_recipe
from tests.unit.export import test_heads


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiles(count=8):
    return np.random.default_rng(0).random((count, 1, 64, 64), np.float32)


def exported(family, module):
    contract = tiny_contract(tiny_recipe())
    checkpoint = Checkpoint(structure_of(family, **SHORT), module.state_dict(), contract)
    return onnx_model(Detector(module, contract, checkpoint, "0" * 64), contract), contract.outputs


def module_of(node: str) -> str:
    """Return the module that a node was traced from: `a.0.b` of `/module/a.0/a.0.b/Conv`."""
    names: list[str] = []
    for part in node.removeprefix("/module/").removesuffix("/Conv").split("/"):
        if names and part.startswith(f"{names[-1]}."):
            names.pop()
        names.append(part)
    return ".".join(names)


def greatest_in_float(module, rounding) -> torch.Tensor:
    """Return the greatest value of each map that is to be rounded, before anything is."""
    found = {}

    def note(number, value):
        found[number] = value.abs().amax()

    hooks = [
        module.get_submodule(name).register_forward_hook(lambda _m, _i, out, n=number: note(n, out))
        for number, name in enumerate(rounding.given)
    ]
    hooks += [
        module.get_submodule(name).register_forward_pre_hook(lambda _m, given, n=number: note(n, given[0]))
        for number, name in enumerate(rounding.read, start=len(rounding.given))
    ]
    with torch.inference_mode():
        infer(module, torch.from_numpy(tiles()))
    for hook in hooks:
        hook.remove()
    return torch.stack([found[number] for number in range(len(found))])


@pytest.mark.parametrize("family", FAMILIES)
def test_it_rounds_what_the_export_rounds_and_answers_alike(family):
    module = test_heads.answering(family)
    model, outputs = exported(family, module)
    ranges = calibrated(model, tiles(), "minmax")
    greatest = absolute_ranges(ranges)
    inputs = {module_of(node.name): node.input[0] for node in model.graph.node if node.op_type == "Conv"}
    places = quantised_convolutions(module)
    assert set(places) == {module_of(name) for name in convolutions(model)}
    rounding = rounding_of(module, 0.1)
    rounding.ranges[:] = greatest_in_float(module, rounding)
    distinct = sorted(greatest[tensor] for tensor in {inputs[name] for name in places})
    np.testing.assert_allclose(sorted(rounding.ranges.tolist()), distinct, rtol=1e-4)
    with torch.inference_mode():
        got = tuple(
            part.numpy() for part in infer(FakeQuantised(module, rounding), torch.from_numpy(tiles()))
        )
    int8 = answering(quantised(model, ranges), outputs)(tiles())
    lost = answer_error(answering(model, outputs)(tiles()), int8)
    assert lost > 0
    assert answer_error(int8, got) < 0.1 * lost


def test_weights_are_rounded_per_channel_to_what_int8_holds():
    weights = torch.randn(4, 3, 3, 3) * torch.tensor([1.0, 100.0, 1e-6, 0.0]).reshape(-1, 1, 1, 1)
    steps = weights.abs().flatten(1).amax(1) / GREATEST
    levels = rounded_weights(weights)[:3] / steps[:3].reshape(-1, 1, 1, 1)
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert levels.abs().flatten(1).amax(1).tolist() == pytest.approx([127] * 3)
    assert not rounded_weights(weights)[3].any()
    assert (rounded_weights(weights) - weights).abs().flatten(1).amax(1).le(steps / 2 + 1e-9).all()


def test_gradients_reach_the_weights_themselves():
    module = test_heads.answering("yolov5-decoupled").train()
    rounded = FakeQuantised(module, rounding_of(module, 0.5))
    before = {name: value.clone() for name, value in module.named_parameters()}
    rounded(torch.from_numpy(tiles(2)))["scores"].square().mean().backward()
    names = {f"{name}.weight" for name in quantised_convolutions(module) if ".cv2." not in name}
    assert all(module.get_parameter(name).grad.abs().sum() > 0 for name in names)
    assert all(torch.equal(before[name], value) for name, value in module.named_parameters())
    assert not any(layer._forward_pre_hooks for layer in module.modules())


def test_ranges_follow_the_batches_and_cut_off_what_lies_beyond():
    module = test_heads.answering("yolov5-decoupled").train()
    rounding = rounding_of(module, 0.25)
    rounded = FakeQuantised(module, rounding)
    image = len(rounding.given)
    for greatest in (1.0, 3.0):
        rounded(torch.full((1, 1, 64, 64), greatest))
    assert rounding.ranges[image].item() == pytest.approx(1.5)
    module.eval()
    with torch.inference_mode():
        inside, beyond = (infer(rounded, torch.full((1, 1, 64, 64), value))[1] for value in (1.5, 9.0))
    assert torch.equal(inside, beyond)
    assert rounding.ranges[image].item() == pytest.approx(1.5)


def test_without_a_batch_seen_activations_stay_as_they_are():
    module = test_heads.answering("yolov5-decoupled")
    rounding = rounding_of(module, 0.1)
    with torch.inference_mode():
        scores = infer(FakeQuantised(module, rounding), torch.from_numpy(tiles(1)))[1]
    assert torch.isfinite(scores).all()
    assert rounding.ranges.isnan().all()


def planted() -> torch.nn.Module:
    """Build a detector with one channel so loud that the step of its map is too coarse for the others."""
    module = test_heads.answering("yolov5-decoupled")
    with torch.no_grad():
        module.model[1].bn.weight[0] *= 1000
        module.model[2].conv.weight[:, 0] /= 1000
    return module


def test_the_export_of_a_bad_case_loses_less_after_fine_tuning():
    module, images = planted(), torch.from_numpy(tiles())
    with torch.no_grad():
        wanted = infer(module, images)
    expected = tuple(part.numpy() for part in wanted)

    def lost() -> tuple[float, float]:
        model, outputs = exported("yolov5-decoupled", module)
        small = quantised(model, calibrated(model, tiles(), "minmax"))
        whole, rounded = answering(model, outputs)(tiles()), answering(small, outputs)(tiles())
        return answer_error(expected, rounded), answer_error(whole, rounded)

    before = lost()
    tuned = FakeQuantised(module.requires_grad_(True), rounding_of(module, 0.5))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for layer in quantised_convolutions(module).values():
        layer.train()
    for _ in range(20):
        boxes, scores = infer(tuned, images)
        loss = 100 * (scores - wanted[1]).square().mean() + ((boxes - wanted[0]) / 64).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval().requires_grad_(False)
    after = lost()
    assert after[0] < before[0]  # to what it said before
    assert after[1] < before[1]  # to its own float32

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from edge.core.contract import (
    CONTRACT_VERSION,
    Clahe,
    GlobalEqualisation,
    HeadLevel,
    Letterbox,
    Outputs,
    RawOutputs,
    contract_from_json,
)
from edge.core.errors import ContractError
from tests.conftest import bright_cell_contract


@pytest.mark.parametrize("enhancement", [Clahe(clip_limit=3, grid_hw=(4, 16)), GlobalEqualisation()])
@pytest.mark.parametrize("geometry", [Letterbox()])
def test_json_keeps_everything(enhancement, geometry):
    contract = bright_cell_contract(enhancement=enhancement, geometry=geometry, mm_per_px=0.2)
    assert contract_from_json(contract.model_dump_json(), "x") == contract


def level(stride_px=8, **ports):
    return HeadLevel(stride_px=stride_px, boxes_port=f"b{stride_px}", scores_port=f"s{stride_px}", **ports)


@pytest.mark.parametrize(
    "outputs",
    [
        RawOutputs(decoding="distribution", bins=16, levels=(level(8), level(16))),
        RawOutputs(decoding="offset", levels=(level(8, objectness_port="o8"),)),
    ],
    ids=["distribution", "offset"],
)
def test_json_keeps_a_head_that_is_decoded_beside_the_network(outputs):
    contract = bright_cell_contract(outputs=outputs, batch=4)
    assert contract_from_json(contract.model_dump_json(), "x") == contract


def test_a_contract_of_the_first_version_is_read(contract):
    first = json.loads(contract.model_dump_json())
    del first["batch"]
    read = contract_from_json(json.dumps({**first, "contract_version": 1}), "model.onnx")
    assert (read.contract_version, read.batch, read.outputs) == (1, None, Outputs())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"decoding": "distribution", "levels": (level(),)}, "bins belong to"),
        ({"decoding": "offset", "bins": 4, "levels": (level(),)}, "bins belong to"),
        ({"decoding": "offset", "levels": (level(),)}, "has an objectness"),
        ({"decoding": "distribution", "bins": 4, "levels": (level(), level())}, "named twice"),
        ({"decoding": "distribution", "bins": 4, "levels": ()}, "at least 1 item"),
        ({"decoding": "distribution", "bins": 4, "levels": (level(48),)}, "does not divide"),
    ],
    ids=["no bins", "bins", "objectness", "port", "levels", "stride"],
)
def test_a_head_that_contradicts_itself_is_refused(changes, named):
    with pytest.raises(ValidationError, match=named):
        bright_cell_contract(outputs=RawOutputs(**changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"score_thresholds": {"wrinkle": 0.5}}, "every class"),
        ({"class_names": ("a", "a")}, "named twice"),
        ({"input_size_hw_px": (60, 64)}, "multiple of 32"),
        ({"geometry": {"kind": "tiles", "overlap_px": 64}}, "smaller than the input"),
        ({"source_digest": "abc"}, "match pattern"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_contradiction_is_refused(changes, named):
    with pytest.raises(ValidationError, match=named):
        bright_cell_contract(**changes)


def test_a_newer_contract_is_refused_before_its_fields_are_read(contract):
    newer = {**json.loads(contract.model_dump_json()), "contract_version": CONTRACT_VERSION + 1, "lens": 1}
    with pytest.raises(ContractError, match="Update loomsight"):
        contract_from_json(json.dumps(newer), "model.onnx")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"contract_version": 1}', "\x00"])
def test_what_is_no_contract_is_refused(text):
    with pytest.raises(ContractError, match=r"model\.onnx"):
        contract_from_json(text, "model.onnx")

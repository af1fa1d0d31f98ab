from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from edge.contract import CONTRACT_VERSION, Clahe, GlobalEqualisation, Letterbox, contract_from_json
from edge.errors import ContractError
from tests.conftest import bright_cell_contract


@pytest.mark.parametrize("enhancement", [Clahe(clip_limit=3, grid_hw=(4, 16)), GlobalEqualisation()])
@pytest.mark.parametrize("geometry", [Letterbox()])
def test_json_keeps_everything(enhancement, geometry):
    contract = bright_cell_contract(enhancement=enhancement, geometry=geometry, mm_per_px=0.2)
    assert contract_from_json(contract.model_dump_json(), "x") == contract


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

"""What stands in an exported model: boxes in the field read it, so it changes only with a new version."""

from __future__ import annotations

import json

import pytest

from distill.checkpoint import load_detector
from edge.backends.onnxruntime import OnnxRuntimeBackend, read_contract
from edge.core.contract import METADATA_KEY, Clahe, ModelContract, Normalisation, Tiles, contract_from_json
from export.onnx import onnx_model, write_onnx
from tests.golden.stored import CURE, FOLDER
from tests.unit.distill.tiny import write_untrained

CONTRACT = ModelContract(
    taxonomy_version=1,
    class_names=("wrinkle", "drop", "broken"),
    input_size_hw_px=(64, 96),
    enhancement=Clahe(clip_limit=3.5, grid_hw=(4, 6)),
    geometry=Tiles(overlap_px=24),
    normalisation=Normalisation(mean=0.45, std=0.225),
    score_thresholds={"wrinkle": 0.3, "drop": 0.35, "broken": 0.15},
    iou_threshold=0.6,
    mm_per_px=0.2,
    source_digest="0123456789abcdef" * 4,
)


def dimensions(port) -> list[str | int]:
    return [side.dim_param or side.dim_value for side in port.type.tensor_type.shape.dim]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    detector = load_detector(write_untrained(tmp_path_factory.mktemp("golden") / "best.pt"))
    return onnx_model(detector, CONTRACT)


def test_metadata_and_ports(exported, stored):
    metadata = {entry.key: entry.value for entry in exported.metadata_props}
    now = {
        "metadata": {METADATA_KEY: json.loads(metadata.pop(METADATA_KEY))},
        "opset": {entry.domain or "ai.onnx": entry.version for entry in exported.opset_import},
        "ir_version": exported.ir_version,
        "inputs": {port.name: dimensions(port) for port in exported.graph.input},
        "outputs": {port.name: dimensions(port) for port in exported.graph.output},
    }
    assert not metadata, "metadata that nothing reads"
    assert now == stored.value("onnx_metadata.json", now), CURE


def test_the_stored_contract_is_read_as_it_was_meant():
    kept = json.loads((FOLDER / "onnx_metadata.json").read_text())["metadata"][METADATA_KEY]
    assert contract_from_json(json.dumps(kept), "onnx_metadata.json") == CONTRACT


def test_a_box_reads_the_contract_from_the_file(exported, tmp_path):
    write_onnx(exported, tmp_path / "model.onnx")
    assert read_contract(tmp_path / "model.onnx") == CONTRACT
    with OnnxRuntimeBackend(tmp_path / "model.onnx", CONTRACT) as backend:
        backend.warm_up(2)

"""The OpenVINO backend keeps what the ONNX Runtime backend keeps; skipped without the package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.core.contract import METADATA_KEY, Outputs
from edge.core.errors import BackendError, ContractError, ModelError
from tests.conftest import bright_cell_contract, write_bright_cell_model

pytest.importorskip("openvino")

from edge.backends import openvino as module
from edge.backends import probe
from edge.backends.openvino import (
    OpenVinoBackend,
    compile_settings,
    first_line,
    usual_precision,
)


@pytest.fixture
def model(tmp_path, contract):
    return write_bright_cell_model(tmp_path / "m.onnx", contract)


def inputs(batch, seed=0):
    return np.random.default_rng(seed).random((batch, 1, 64, 64), np.float32)


@pytest.mark.parametrize("warm", [(), (3,), (1, 3)], ids=str)
def test_it_gives_what_onnx_runtime_gives(model, contract, warm):
    with (
        OpenVinoBackend(model, contract, "f32", threads=1) as ours,
        OnnxRuntimeBackend(model, contract, threads=1) as theirs,
    ):
        for batch in warm:
            ours.warm_up(batch)
        for batch in (1, 3, 2):
            for got, expected in zip(ours.infer(inputs(batch)), theirs.infer(inputs(batch)), strict=True):
                assert got.dtype == np.float32
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_result_outlives_the_next_inference_and_the_backend(model, contract):
    with OpenVinoBackend(model, contract, "f32", threads=1) as backend:
        backend.warm_up(1)
        boxes, scores = backend.infer(inputs(1))
        kept = boxes.copy(), scores.copy()
        backend.infer(inputs(1, seed=1))
    np.testing.assert_array_equal(boxes, kept[0])
    np.testing.assert_array_equal(scores, kept[1])


def test_images_need_not_be_contiguous(model, contract):
    wide = np.random.default_rng(0).random((2, 1, 64, 128), np.float32)[:, :, :, ::2]
    with OpenVinoBackend(model, contract, "f32", threads=1) as backend:
        for got, expected in zip(
            backend.infer(wide), backend.infer(np.ascontiguousarray(wide)), strict=True
        ):
            np.testing.assert_array_equal(got, expected)


def test_the_description_says_what_it_runs_on(model, contract):
    import openvino

    with OpenVinoBackend(model, contract, "f32", threads=1) as backend:
        text = str(backend.description)
    assert text == f"openvino {openvino.__version__.split('-')[0]}, CPU, float32"


def test_bfloat16_is_what_it_says_or_is_skipped(model, contract):
    with OpenVinoBackend(model, contract, "bf16", threads=1) as backend:
        description = backend.description
        scores = backend.infer(inputs(1))[1]
    assert (description.precision == "bfloat16") == (description.skipped == ())
    with OnnxRuntimeBackend(model, contract, threads=1) as other:
        np.testing.assert_allclose(scores, other.infer(inputs(1))[1], atol=0.01)


@pytest.mark.parametrize(
    ("features", "expected"),
    [(["avx2"], "f32"), (["avx512_bf16", "avx2"], "f32"), (["amx_tile", "amx_bf16"], "bf16")],
)
def test_bfloat16_is_usual_only_where_tiles_multiply_it(monkeypatch, features, expected):
    monkeypatch.setattr(module, "processor_features", lambda: features)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert usual_precision() == expected


@pytest.mark.parametrize(
    ("limit", "is_permitted"),
    [("AVX2", False), ("avx512_core", False), ("AVX512_CORE_BF16", True), ("DEFAULT", True), (None, True)],
)
def test_bfloat16_is_not_tried_where_the_environment_forbids_its_instructions(
    monkeypatch, limit, is_permitted
):
    monkeypatch.setattr(probe, "processor_features", lambda: ["amx_bf16"])
    monkeypatch.setattr(module, "processor_features", lambda: ["amx_bf16"])
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert probe.multiplies_bfloat16() == is_permitted
    assert usual_precision() == ("bf16" if is_permitted else "f32")


def test_threads_default_to_the_cores(monkeypatch):
    monkeypatch.setattr("edge.backends.probe.available_cores", lambda: 7)
    assert compile_settings("f32", None)["INFERENCE_NUM_THREADS"] == 7
    assert compile_settings("f32", 2)["INFERENCE_NUM_THREADS"] == 2


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 1, 32, 32), np.float32),
        np.zeros((1, 3, 64, 64), np.float32),
        np.zeros((1, 1, 64, 64), np.float64),
    ],
    ids=["size", "channels", "dtype"],
)
def test_images_the_network_does_not_take(model, contract, images):
    with (
        OpenVinoBackend(model, contract, "f32", threads=1) as backend,
        pytest.raises(BackendError, match="the network takes float32"),
    ):
        backend.infer(images)


@pytest.mark.parametrize("damage", ["missing", "text", "truncated"])
def test_what_is_no_onnx_model(tmp_path, model, contract, damage, capfd):
    if damage == "missing":
        model.unlink()
    elif damage == "text":
        model.write_text("no model")
    else:
        model.write_bytes(model.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"m\.onnx") as caught:
        OpenVinoBackend(model, contract, "f32", threads=1)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_without_contract(tmp_path, contract):
    model = write_bright_cell_model(tmp_path / "bare.onnx", contract, with_contract=False)
    with pytest.raises(ContractError, match="no loomsight contract"):
        OpenVinoBackend(model, contract, "f32", threads=1)


def test_a_contract_of_another_bundle(model):
    with pytest.raises(ContractError, match="not the one of its bundle"):
        OpenVinoBackend(model, bright_cell_contract(iou_threshold=0.9), "f32", threads=1)


@pytest.mark.parametrize(
    ("changes", "classes", "named"),
    [
        ({}, 4, r"port 'scores' ends in \[4\]; its contract says \[3\]"),
        ({"outputs": Outputs(boxes_port="elsewhere")}, 3, "port 'elsewhere' is missing"),
        ({"input_size_hw_px": (32, 32)}, 3, r"port 'images' ends in \[1, 64, 64\]"),
    ],
    ids=["classes", "port", "size"],
)
def test_a_contract_the_ports_do_not_keep(tmp_path, changes, classes, named):
    contract = bright_cell_contract(**changes)
    model = write_bright_cell_model(tmp_path / "m.onnx", contract, classes=classes)
    with pytest.raises(ContractError, match=named):
        OpenVinoBackend(model, contract, "f32", threads=1)


def test_an_error_becomes_the_line_that_tells():
    text = "Exception from src/a.cpp:1:\nCheck 'x == y' failed at src/b.cpp:2:\nThe size is wrong.\n\n"
    assert first_line(RuntimeError(text)) == "The size is wrong"
    assert first_line(RuntimeError("")) == "no reason given"


def test_without_the_package_the_cure_is_named():
    program = (
        "import sys; sys.modules['openvino'] = None\n"
        "from edge.process.console import run_command\n"
        "def command():\n    import edge.backends.openvino\n"
        "run_command(command)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 11
    assert done.stderr.startswith("error: The package 'openvino' is not installed. Install it: ")
    assert "openvino`" in done.stderr.splitlines()[-1]


def joined_int8_model(path, contract):
    """Write a network whose INT8 convolution reads two maps joined, some of their values negative."""
    rng = np.random.default_rng(3)
    constants = {
        "wa": rng.standard_normal((4, 1, 1, 1)).astype(np.float32),
        "wb": rng.standard_normal((4, 1, 1, 1)).astype(np.float32),
        "scale": np.float32(0.02),
        "zero": np.int8(0),
        "w": rng.integers(-99, 99, (3, 8, 1, 1)).astype(np.int8),
        "w_scale": np.full(3, 0.004, np.float32),
        "w_zero": np.zeros(3, np.int8),
        "shape": np.array([0, 3, -1], np.int64),
        "four": np.array([1, 1, 4], np.int64),
        "first": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["images", "wa"], ["a"]),
        helper.make_node("Conv", ["images", "wb"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["joined"], axis=1),
        helper.make_node("QuantizeLinear", ["joined", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["weights"], axis=0),
        helper.make_node("Conv", ["dq", "weights"], ["y"]),
        helper.make_node("Reshape", ["y", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["flat", "first", "one", "axis"], ["row"]),
        helper.make_node("Transpose", ["row"], ["column"], perm=[0, 2, 1]),
        helper.make_node("Tile", ["column", "four"], ["boxes_xyxy_px"]),
    ]
    graph = helper.make_graph(
        nodes,
        "joined",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 1, 64, 64])],
        [
            helper.make_tensor_value_info("boxes_xyxy_px", TensorProto.FLOAT, ["B", 4096, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", 4096, 3]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: contract.model_dump_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def test_joined_maps_in_int8_keep_their_negative_values(tmp_path, contract):
    model = joined_int8_model(tmp_path / "m.onnx", contract)
    images = inputs(2)
    with (
        OpenVinoBackend(model, contract, "int8", threads=1) as ours,
        OnnxRuntimeBackend(model, contract, ["CPUExecutionProvider"], threads=1) as theirs,
    ):
        assert ours.description.precision == "int8"
        scores, expected = ours.infer(images)[1], theirs.infer(images)[1]
    assert expected.min() < -0.5
    np.testing.assert_allclose(scores, expected, atol=0.02)


AFTER_TWO = """
import gc, os, signal, sys, time
from pathlib import Path
from edge.backends.onnxruntime import read_contract
from edge.backends.openvino import OpenVinoBackend
model = Path(sys.argv[1])
contract = read_contract(model)
opened = [OpenVinoBackend(model, contract, threads=1) for _ in range(2)]
while opened:  # as a change of article does: the next one is opened before the last one is closed
    opened.pop(0).__exit__()
    gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_ctrl_c_after_two_models_is_no_crash(model):
    """OpenVINO sets a stack for signals of its own and may leave one that is gone."""
    done = subprocess.run(
        [sys.executable, "-c", AFTER_TWO, model], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr

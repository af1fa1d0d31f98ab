"""ONNX files that nobody vouches for: tried apart, so that none takes all memory or never ends."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.backends.trial import check_in_trial
from edge.config import EdgeConfig
from edge.errors import ModelError
from edge.run import run
from tests.conftest import bright_cell_contract, write_bright_cell_model


@pytest.fixture
def model_path(tmp_path):
    return write_bright_cell_model(tmp_path / "m.onnx", bright_cell_contract())


def put_before(model_path, nodes, **constants):
    """Let the network need `nothing2`, which the nodes compute, where it needed `nothing`."""
    model = onnx.load(model_path)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    (product,) = (node for node in model.graph.node if node.op_type == "Mul")
    product.input[list(product.input).index("nothing")] = "nothing2"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    onnx.save(model, model_path)


def with_huge_constant(model_path):
    nodes = [
        helper.make_node("ConstantOfShape", ["many"], ["zeros_32_gb"]),
        helper.make_node("ReduceMax", ["zeros_32_gb"], ["greatest"], keepdims=0),
        helper.make_node("Mul", ["greatest", "nothing"], ["nothing2"]),
    ]
    put_before(model_path, nodes, many=np.array([8_000_000_000], np.int64))


def with_endless_loop(model_path):
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go2"]), helper.make_node("Identity", ["x"], ["x2"])],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("x", TensorProto.FLOAT, [1]),
        ],
        [value("go2", TensorProto.BOOL, []), value("x2", TensorProto.FLOAT, [1])],
    )
    loop = helper.make_node("Loop", ["times", "always", "nothing"], ["nothing2"], body=body)
    put_before(model_path, [loop], times=np.int64(2**62), always=np.bool_(True))


def test_a_detector_passes(model_path):
    check_in_trial(model_path)


def test_a_model_that_never_ends_is_refused(model_path):
    with_endless_loop(model_path)
    with pytest.raises(ModelError, match="does not answer within 3 s"):
        check_in_trial(model_path, cpu_s=3)


def test_edge_run_refuses_a_model_that_takes_all_memory(tmp_path, model_path):
    with_huge_constant(model_path)
    with pytest.raises(ModelError, match=r"m\.onnx takes more than 4 GiB of memory"):
        run(EdgeConfig(camera="loom:length_m=1", model=model_path))


def test_what_is_wrong_otherwise_is_left_to_who_opens_it(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    check_in_trial(tmp_path / "m.onnx")

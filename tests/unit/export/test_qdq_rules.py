"""What every TensorRT demands of a Q/DQ graph, on networks that ONNX Runtime quantised."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distill.checkpoint import load_detector
from edge.backends.onnxruntime import OnnxRuntimeBackend, read_contract
from edge.backends.tensorrt_builder import EngineRequest, build_here
from edge.backends.tensorrt_engines import BatchProfile
from edge.backends.tensorrt_library import open_library
from edge.backends.tensorrt_progress import Phases
from edge.core.contract import METADATA_KEY
from edge.core.errors import ModelError
from export.onnx import onnx_model
from export.qdq_rules import check_qdq, problems_of
from tests.conftest import bright_cell_contract
from tests.unit.distill.tiny import write_untrained
from tests.unit.edge.small_detector import write_small_detector


class Noise:
    """Calibration images, as onnxruntime.quantization asks for them."""

    def __init__(self, count=2):
        random = np.random.default_rng(0)
        self.images = [{"images": random.random((1, 1, 64, 64), np.float32)} for _ in range(count)]

    def get_next(self):
        return self.images.pop() if self.images else None


def quantised(source: Path, target: Path, **changes):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "AddQDQPairToWeight": True,
        "QuantizeBias": False,
    }
    settings = {
        "quant_format": QuantFormat.QDQ,
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "op_types_to_quantize": ["Conv"],
        "extra_options": {**options, **changes.pop("extra_options", {})},
    }
    contract = read_contract(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(str(source), str(target), Noise(), **{**settings, **changes})
    model = onnx.load(target)
    helper.set_model_props(model, {METADATA_KEY: contract.model_dump_json()})
    onnx.save(model, str(target))
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qdq")
    write_small_detector(folder / "small.onnx", bright_cell_contract())
    quantised(folder / "small.onnx", folder / "small.int8.onnx")
    return folder


@pytest.fixture
def model(place):
    return onnx.load(place / "small.int8.onnx")


def built(path, precision="int8"):
    pytest.importorskip("tensorrt_rtx")
    contract = read_contract(path)
    request = EngineRequest(path, contract, precision, BatchProfile(least=1, usual=2, most=2), ("8.6",))
    return build_here(request, open_library("tensorrt_rtx"), path.read_bytes(), Phases(lambda *_: None))


def test_a_quantised_network_keeps_the_rules_and_is_built_for_sm86(place, model):
    check_qdq(model)
    assert sum(node.op_type == "DequantizeLinear" for node in model.graph.node) >= 4
    assert len(built(place / "small.int8.onnx")) > 1000


@pytest.mark.slow
def test_a_quantised_yolov5_keeps_the_rules_and_is_built_for_sm86(place):
    write_untrained(place / "best.pt")
    detector = load_detector(place / "best.pt")
    onnx.save(onnx_model(detector, detector.contract), str(place / "yolo.onnx"))
    check_qdq(quantised(place / "yolo.onnx", place / "yolo.int8.onnx"))
    assert len(built(place / "yolo.int8.onnx")) > 1000
    with OnnxRuntimeBackend(place / "yolo.int8.onnx", detector.contract) as backend:
        assert backend.infer(np.zeros((1, 1, 64, 64), np.float32))[1].shape == (1, 84, 3)


def first(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def constant(model, name):
    return next(one for one in model.graph.initializer if one.name == name)


def replace_constant(model, name, value):
    constant(model, name).CopyFrom(numpy_helper.from_array(value, name))


def zero_point_of_five(model):
    replace_constant(model, first(model, "QuantizeLinear").input[2], np.array(5, np.int8))


def unsigned(model):
    replace_constant(model, first(model, "QuantizeLinear").input[2], np.array(0, np.uint8))


def no_zero_point(model):
    del first(model, "QuantizeLinear").input[2:]


def scale(value):
    def change(model):
        replace_constant(model, first(model, "QuantizeLinear").input[1], np.array(value, np.float32))

    return change


def activations_per_channel(model):
    node = next(one for one in model.graph.node if one.op_type == "QuantizeLinear" and one.input[0] == "x")
    replace_constant(model, node.input[1], np.array([0.1, 0.2], np.float32))


def scale_of_float64(model):
    replace_constant(model, first(model, "QuantizeLinear").input[1], np.array(0.1, np.float64))


def quantised_bias(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(8, np.int32), "bias_int32"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), "zero_int8"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "bias_scale"))
    node = helper.make_node(
        "DequantizeLinear", ["bias_int32", "bias_scale", "zero_int8"], ["bias"], "bias_dq"
    )
    model.graph.node.insert(0, node)
    first(model, "Conv").input[2] = "bias"


def weights_along(axis):
    def change(model):
        weights = first(model, "Conv").input[1]
        dequantize = next(node for node in model.graph.node if weights in node.output)
        for attribute in dequantize.attribute:
            attribute.i = axis

    return change


def one_scale_for_all_weights(model):
    weights = first(model, "Conv").input[1]
    dequantize = next(node for node in model.graph.node if weights in node.output)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "one_scale"))
    dequantize.input[1] = "one_scale"


def plain_weights(model):
    first(model, "Conv").input[1] = "first_weight"


def foreign_domain(model):
    first(model, "QuantizeLinear").domain = "com.microsoft"


def integer_operator(model):
    first(model, "Relu").op_type = "ConvInteger"


def newer_opset(model):
    model.opset_import[0].version = 21


def float16_port(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def integers_taken_by_another(model):
    first(model, "Relu").input[0] = first(model, "QuantizeLinear").output[0]


def computed_scale(model):
    first(model, "QuantizeLinear").input[1] = "images"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (zero_point_of_five, "zero point is not 0"),
        (unsigned, "it is of uint8, not int8"),
        (no_zero_point, "without a zero point it is of uint8"),
        (scale(0.0), "a scale is not a positive number"),
        (scale(-1.0), "a scale is not a positive number"),
        (scale(np.inf), "a scale is not a positive number"),
        (scale(np.nan), "a scale is not a positive number"),
        (activations_per_channel, "activations are quantised per channel"),
        (scale_of_float64, "its scale is float64"),
        (computed_scale, "its scale is not a constant"),
        (quantised_bias, "bias_dq: a bias is quantised"),
        (weights_along(1), "not quantised per output channel"),
        (one_scale_for_all_weights, "not quantised per output channel"),
        (plain_weights, "its input is quantised and its weights are not"),
        (foreign_domain, "is of the domain com.microsoft"),
        (integer_operator, "computes on integers"),
        (newer_opset, "its opset is 21"),
        (float16_port, "port 'images' is not float32"),
        (integers_taken_by_another, "takes its integers, not a DQ node"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_breaks_a_rule_is_refused_and_named(model, change, said):
    change(model)
    assert any(said in problem for problem in problems_of(model)), list(problems_of(model))
    with pytest.raises(ModelError, match="Quantise again") as caught:
        check_qdq(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra_options": {"QuantizeBias": True}}, "a bias is quantised|int32"),
        ({"per_channel": False}, "not quantised per output channel"),
    ],
    ids=["bias", "per tensor"],
)
def test_other_settings_of_the_quantiser_are_refused(place, tmp_path, changes, said):
    with pytest.raises(ModelError, match=said):
        check_qdq(quantised(place / "small.onnx", tmp_path / "q.onnx", **changes))


def test_a_network_that_is_not_quantised_is_refused(place):
    with pytest.raises(ModelError, match="nothing in it is quantised"):
        check_qdq(onnx.load(place / "small.onnx"))


def test_the_rules_need_no_tensorrt():
    program = (
        "import sys; sys.modules.update(tensorrt=None, tensorrt_rtx=None, torch=None)\n"
        "import export.qdq_rules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])

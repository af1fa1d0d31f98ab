"""A small convolutional detector as ONNX, in float32 or float16 between float32 ports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.core.contract import METADATA_KEY, ModelContract
from tests.conftest import CLASSES, INPUT_PX

CELL_PX = 8


def write_small_detector(
    path: Path, contract: ModelContract, *, float16: bool = False, batch: int | str = "B"
) -> Path:
    """Write two convolutions and a head: scores (B, 64, 3), and a box for each cell."""
    cells = INPUT_PX // CELL_PX
    random = np.random.default_rng(0)
    kind = np.float16 if float16 else np.float32
    corner = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2) * CELL_PX
    constants = {
        "first_weight": random.normal(0, 0.3, (8, 1, 3, 3)).astype(kind),
        "first_bias": random.normal(0, 0.1, 8).astype(kind),
        "second_weight": random.normal(0, 0.1, (3, 8, CELL_PX, CELL_PX)).astype(kind),
        "second_bias": random.normal(0, 0.1, 3).astype(kind),
        "row": np.array([0, 3, cells * cells], np.int64),
        "cell_boxes": np.concatenate([corner, corner + CELL_PX], 1).astype(np.float32)[None],
        "nothing": np.zeros((1,), np.float32),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    node = helper.make_node
    nodes = [
        node(
            "Cast", ["images"], ["x"], "cast_in", to=TensorProto.FLOAT16 if float16 else TensorProto.FLOAT
        ),
        node("Conv", ["x", "first_weight", "first_bias"], ["a"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"], "relu"),
        node("Conv", ["b", "second_weight", "second_bias"], ["c"], "second", strides=[CELL_PX] * 2),
        node("Cast", ["c"], ["d"], "cast_out", to=TensorProto.FLOAT),
        node("Sigmoid", ["d"], ["e"], "sigmoid"),
        node("Reshape", ["e", "row"], ["f"], "reshape"),
        node("Transpose", ["f"], ["scores"], "transpose", perm=[0, 2, 1]),
        node("Slice", ["scores", "zero", "one", "last"], ["g"], "slice"),
        node("Mul", ["g", "nothing"], ["h"], "mul"),
        node("Add", ["cell_boxes", "h"], ["boxes_xyxy_px"], "add"),
    ]
    graph = helper.make_graph(
        nodes,
        "small_detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 1, INPUT_PX, INPUT_PX])],
        [
            helper.make_tensor_value_info("boxes_xyxy_px", TensorProto.FLOAT, [batch, cells * cells, 4]),
            helper.make_tensor_value_info(
                "scores", TensorProto.FLOAT, [batch, cells * cells, len(CLASSES)]
            ),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: contract.model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path

"""Small real components that several tests share: a model that finds bright cells, and its bundle."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from edge.bundle.manifest import BundleManifest
from edge.bundle.publish import publish_bundle, staging_folder
from edge.core.contract import METADATA_KEY, ModelContract, NoEnhancement, Tiles
from edge.core.files import file_digest

pytest_plugins = ["tests.skips", "tests.worker_traces"]

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

# Where Python may keep no bytecode beside the sources, as in many containers, each of the hundreds of
# processes that the tests start would compile torch and all else again.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / "runs" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

# `nohup` and a shell's `&` have signals ignored, and what the tests start would inherit that.
USUAL = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGQUIT: signal.SIG_DFL,
}
for number, handler in USUAL.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
# An error that nobody foresaw must end a test, not become one line and an exit code.
os.environ.setdefault("LOOMSIGHT_TRACEBACK", "1")

# Speed is measured by benchmarks, never by tests: a busy machine must not fail them.
settings.register_profile("loomsight", deadline=None, max_examples=60)
settings.load_profile("loomsight")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="Write the files of tests/golden again.")


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Undo what a command made of logging: its handler writes to a stream that ends with the test.

    One that a fixture of many tests has run left its own, whose stream is closed by now.
    """
    logging.root.handlers[:] = [h for h in logging.root.handlers if not _is_closed(h)]
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def _is_closed(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and getattr(handler.stream, "closed", False)


CELL_PX = 8
INPUT_PX = 64
CLASSES = ("wrinkle", "drop", "broken")


def bright_cell_contract(**changes) -> ModelContract:
    """Return the contract of the bright-cell model: no enhancement, so scores are grey values / 255."""
    fields = {
        "taxonomy_version": 1,
        "class_names": CLASSES,
        "input_size_hw_px": (INPUT_PX, INPUT_PX),
        "enhancement": NoEnhancement(),
        "geometry": Tiles(overlap_px=16),
        "score_thresholds": dict.fromkeys(CLASSES, 0.5),
        "source_digest": "0" * 64,
    }
    return ModelContract(**{**fields, **changes})


def write_bright_cell_model(
    path: Path, contract: ModelContract, *, classes: int = 3, with_contract: bool = True
) -> Path:
    """Write a real detector as ONNX: the score of `broken` in each 8 px cell is the cell's mean value."""
    cells = INPUT_PX // CELL_PX
    corner = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2) * CELL_PX
    boxes = np.concatenate([corner, corner + CELL_PX], 1).astype(np.float32)[None]
    constants = {
        "cell_boxes": boxes,
        "shape": np.array([-1, 1, cells * cells], np.int64),
        "nothing": np.zeros((1,), np.float32),
        "pads": np.array([0, classes - 1, 0, 0, 0, 0], np.int64),
    }
    nodes = [
        helper.make_node(
            "AveragePool", ["images"], ["means"], kernel_shape=[CELL_PX] * 2, strides=[CELL_PX] * 2
        ),
        helper.make_node("Reshape", ["means", "shape"], ["row"]),
        helper.make_node("Pad", ["row", "pads", "nothing"], ["padded"]),
        helper.make_node("Transpose", ["padded"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["scores", "zero", "one", "last"], ["first_score"]),
        helper.make_node("Mul", ["first_score", "nothing"], ["zeros"]),
        helper.make_node("Add", ["cell_boxes", "zeros"], ["boxes_xyxy_px"]),
    ]
    constants |= {
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "bright_cells",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 1, INPUT_PX, INPUT_PX])],
        [
            helper.make_tensor_value_info("boxes_xyxy_px", TensorProto.FLOAT, ["B", cells * cells, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", cells * cells, classes]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if with_contract:
        helper.set_model_props(model, {METADATA_KEY: contract.model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def write_bright_cell_bundle(folder: Path, **contract_changes) -> Path:
    """Publish the bright-cell model as a bundle."""
    contract = bright_cell_contract(**contract_changes)
    with staging_folder(folder) as staged:
        model = write_bright_cell_model(staged / "model.onnx", contract)
        manifest = BundleManifest(contract=contract, files={"model.onnx": file_digest(model)})
        publish_bundle(staged, folder, manifest)
    return folder


@pytest.fixture
def contract() -> ModelContract:
    return bright_cell_contract()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bright_cell_bundle(tmp_path / "bundle")

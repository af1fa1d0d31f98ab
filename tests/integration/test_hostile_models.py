"""Models and bundles that may not be read, are too new, endless, or ask for all memory: one line each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.bundle.manifest import seal_of
from edge.bundle.opening import demo_bundle_path
from edge.config import EdgeConfig
from edge.errors import LoomsightError, ModelError
from edge.run import run
from tests.conftest import bright_cell_contract, write_bright_cell_bundle, write_bright_cell_model

DOCUMENTED_FOR_MODELS = (20, 22, 30, 31, 32)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "cloth.png"
    cv2.imwrite(str(path), np.full((64, 96), 90, np.uint8))
    return path


def refused(image, model, **options):
    with pytest.raises(LoomsightError) as caught:
        run(EdgeConfig(camera=str(image), model=model, threads=1, **options))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["model.onnx", "golden", "bundle.json", "."])
def test_what_may_not_be_read_of_a_bundle_is_code_30_which_systemd_does_not_start_again(
    tmp_path, image, name
):
    shutil.copytree(demo_bundle_path(), tmp_path / "b")
    target = tmp_path / "b" / name
    target.chmod(0)
    rights = "-dac_override,-dac_read_search"  # root that minds permissions
    minding = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    program = [sys.executable, "-c", "from edge.cli import run_main; run_main()", "--camera", str(image)]
    done = subprocess.run(
        [*minding, *program],
        env={**os.environ, "LOOMSIGHT_EDGE_MODEL": str(tmp_path / "b")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    target.chmod(0o755)
    assert done.returncode == 30, done.stderr
    assert "Permission denied" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ir_version": 99}, "Unsupported model IR version: 99, max supported IR version: "),
        ({"opset": 99}, "is till opset "),
    ],
    ids=["ir", "opset"],
)
def test_the_reason_of_onnx_runtime_is_told_to_its_end(tmp_path, image, contract, change, said):
    path = tmp_path / "m.onnx"
    write_bright_cell_model(path, contract)
    model = onnx.load(path)
    if "opset" in change:
        model.opset_import[0].version = 99
    else:
        model.ir_version = 99
    onnx.save(model, path)
    error = refused(image, path)
    assert said in str(error)
    assert "Update ONNX Runtime" in error.cure
    assert ".cc:" not in str(error)


def with_part(path, nodes, initializers):
    """Let a network compute something more, and add it to its scores."""
    model = onnx.load(path)
    graph = model.graph
    scores = graph.output[1].name
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == scores:
                node.output[place] = "scores_before"
    graph.initializer.extend(initializers)
    graph.node.extend(nodes)
    graph.node.append(helper.make_node("Add", ["scores_before", "more"], [scores]))
    onnx.save(model, path)


def huge_constant(path):
    shape = numpy_helper.from_array(np.array([100_000, 100_000]), "huge_shape")
    fill = helper.make_node(
        "ConstantOfShape",
        ["huge_shape"],
        ["huge"],
        value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0]),
    )
    add = helper.make_node("ReduceMax", ["huge"], ["more"], keepdims=0)
    with_part(path, [fill, add], [shape])


def endless_loop(path):
    number, flag = TensorProto.FLOAT, TensorProto.BOOL
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", flag, []),
            helper.make_tensor_value_info("v", number, []),
        ],
        [helper.make_tensor_value_info("go_on", flag, []), helper.make_tensor_value_info("w", number, [])],
    )
    initial = [
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.array(0, np.float32), "nought"),
    ]
    with_part(path, [helper.make_node("Loop", ["", "yes", "nought"], ["more"], body=body)], initial)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "auto"])
def test_a_network_that_asks_for_all_memory_is_refused_and_takes_none(tmp_path, image, contract, backend):
    path = tmp_path / "m.onnx"
    write_bright_cell_model(path, contract)
    huge_constant(path)
    error = refused(image, path, backend=backend)
    assert isinstance(error, ModelError)
    assert "allocate" in str(error)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "auto"])
def test_a_network_that_has_no_end_is_ended(tmp_path, image, contract, monkeypatch, backend):
    monkeypatch.setattr("edge.backends.onnxruntime.PROOF_S", 0.3)
    path = tmp_path / "m.onnx"
    write_bright_cell_model(path, contract)
    endless_loop(path)
    error = refused(image, path, backend=backend)
    assert isinstance(error, ModelError)
    assert "it has not come to an end after 0.3 s" in str(error)


@pytest.mark.parametrize("kind", ["fifo", "device"])
@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", "bundle.json.sha256", "golden.png"])
def test_pipes_and_endless_devices_in_a_bundle_hang_nobody(tmp_path, bundle, image, kind, name):
    manifest = json.loads((bundle / "bundle.json").read_text())
    if name == "golden.png":
        manifest["files"][name] = "0" * 64
        (bundle / "bundle.json").write_text(json.dumps(manifest))
        (bundle / "bundle.json.sha256").write_bytes(seal_of(bundle))
    (bundle / name).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(bundle / name)
    else:
        (bundle / name).symlink_to("/dev/zero")
    error = refused(image, bundle)
    assert error.exit_code == 30
    assert "not a regular file" in str(error)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_onnx_files_are_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("m")
    path = folder / "m.onnx"
    write_bright_cell_model(path, bright_cell_contract())
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    image = folder / "cloth.png"
    cv2.imwrite(str(image), np.full((64, 64), 90, np.uint8))
    try:
        run(EdgeConfig(camera=str(image), model=path, threads=1))
    except LoomsightError as error:
        assert error.exit_code in DOCUMENTED_FOR_MODELS  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


def test_a_bundle_is_whole_as_it_is_made(tmp_path, image):
    summary = run(EdgeConfig(camera=str(image), model=write_bright_cell_bundle(tmp_path / "w"), threads=1))
    assert summary["frames"] == 1

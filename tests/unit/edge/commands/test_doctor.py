from __future__ import annotations

import json
import sys

import pytest

from edge.backends import tensorrt
from edge.backends.registry import BackendKind
from edge.commands import doctor
from edge.commands.doctor import cuda_finding, examine, print_report
from edge.process import packages


@pytest.fixture(autouse=True)
def from_a_wheel(monkeypatch, tmp_path):
    """Cures name the commands of an installation that is no clone."""
    monkeypatch.setattr(packages, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("built_in", "reason", "verdict", "detail", "cure"),
    [
        (True, None, "ok", "starts", ""),
        (False, None, "lacking", "built without CUDA", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
        (
            True,
            "libcudnn.so.9: cannot open shared object file",
            "lacking",
            "GPU present, but the CUDA provider does not start: libcudnn.so.9",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        ),
        (True, "libcuda.so.1: cannot open", "lacking", "libcuda.so.1", "driver"),
    ],
    ids=["starts", "not built in", "no libraries", "no driver"],
)
def test_a_gpu_that_is_there_and_one_that_is_used(built_in, reason, verdict, detail, cure):
    finding = cuda_finding(built_in, reason)
    assert finding.verdict == verdict
    assert detail in finding.detail
    assert cure in finding.cure


def changed(bundle):
    (bundle / "model.onnx").write_bytes(b"changed")


def without_manifest(bundle):
    (bundle / "bundle.json").unlink()


@pytest.mark.parametrize("damage", [changed, without_manifest])
def test_a_damaged_shipped_bundle_is_broken(bundle, monkeypatch, capsys, damage):
    monkeypatch.setattr(doctor, "demo_bundle_path", lambda: bundle)
    assert print_report(as_json=True)
    damage(bundle)
    capsys.readouterr()
    assert not print_report(as_json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["demo bundle"]["verdict"] == "broken"
    assert rows["demo bundle"]["cure"]


@pytest.mark.parametrize(
    ("installed", "detail", "cure"), [(None, "not installed", "'loomsight[basler]'"), ("26.8", "26.8", "")]
)
def test_pypylon_is_needed_for_basler_cameras_alone(monkeypatch, installed, detail, cure):
    monkeypatch.setattr(doctor, "_version", {"pypylon": installed}.get)
    row = next(finding for finding in examine() if finding.name == "pypylon")
    assert (row.verdict, row.detail) == ("ok", detail)
    assert cure in row.cure
    assert bool(row.cure) == (installed is None)


@pytest.mark.parametrize(
    ("gpu", "versions", "detail", "cure"),
    [
        (False, {}, "not installed", ""),
        (False, {"tensorrt-rtx": "1.7"}, "tensorrt-rtx 1.7", "--build --for sm86"),
        (True, {"tensorrt": "10.3", "pycuda": "2026.1"}, "tensorrt 10.3, pycuda 2026.1", "--build --model"),
        (True, {"tensorrt-rtx": "1.7"}, "tensorrt-rtx 1.7", "loomsight[tensorrt]"),
        (True, {}, "not installed", "loomsight[tensorrt]"),
    ],
)
def test_tensorrt_is_never_lacking_and_says_what_to_do(monkeypatch, gpu, versions, detail, cure):
    monkeypatch.setattr(doctor, "nvidia_gpu_present", lambda: False)
    monkeypatch.setattr(tensorrt, "nvidia_gpu_present", lambda: gpu)
    monkeypatch.setattr(BackendKind, "versions", versions)
    row = next(finding for finding in examine() if finding.name == "TensorRT")
    assert (row.verdict, row.detail) == ("ok", detail)
    assert cure in row.cure


def test_openvino_is_loaded_where_it_is_installed():
    openvino = pytest.importorskip("openvino")
    (row,) = (finding for finding in examine() if finding.name == "OpenVINO")
    assert row.verdict == "ok"
    assert row.detail.startswith(openvino.__version__.split("-")[0])
    assert "CPU" in row.detail


def test_openvino_is_never_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "edge.backends.openvino", raising=False)
    (row,) = (finding for finding in examine() if finding.name == "OpenVINO")
    assert (row.verdict, row.detail) == ("ok", "not installed")
    assert "loomsight[openvino]" in row.cure


def test_openvino_that_does_not_load_is_lacking(tmp_path, monkeypatch):
    (tmp_path / "openvino.py").write_text("raise ImportError('libopenvino.so: no such file')")
    for module in ("openvino", "edge.backends.openvino"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (row,) = (finding for finding in examine() if finding.name == "OpenVINO")
    assert (row.verdict, row.detail) == ("lacking", "libopenvino.so: no such file")
    assert row.cure

from __future__ import annotations

import json
import struct
import sys

import pytest
from rich.console import Console

from edge.backends import tensorrt
from edge.backends.registry import BackendKind
from edge.bench.quick import QuickResult, quick_results
from edge.cameras import v4l2
from edge.commands import doctor
from edge.commands.doctor import cuda_finding, examine, print_report
from edge.commands.doctor_cameras import video_finding
from edge.commands.doctor_uses import inspection_finding
from edge.commands.finding import DeviceFinding, print_findings
from edge.config.edge import EdgeConfig
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
    assert print_report(as_json=True, is_measured=False)
    damage(bundle)
    capsys.readouterr()
    assert not print_report(as_json=True, is_measured=False)
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


def measured(backend, tiles_hz, load=0.0):
    return QuickResult(backend, f"{backend} 1.0 CPU float32", tiles_hz, tiles_hz * 0.6, 0.2, load)


def test_a_use_is_said_in_metres_a_minute_with_what_would_be_faster():
    finding = inspection_finding([measured("onnxruntime", 32.0), measured("openvino", 64.0)])
    assert finding.detail.splitlines()[0] == (
        "can run at 12.0 m/min x 1.6 m at 0.2 mm/px (onnxruntime 1.0 CPU float32)"
    )
    assert finding.cure == "openvino does 2.0 times as much: edge-run --backend openvino"
    assert "edge-bench --lines" in finding.detail
    assert "BUSY" not in finding.detail


def test_a_measurement_on_a_busy_device_is_marked():
    finding = inspection_finding([measured("onnxruntime", 32.0, load=1.5)])
    assert "other processes kept 1.5 cores at work" in finding.detail
    assert "loomsight[openvino]" in finding.cure


def test_the_network_is_timed_on_what_is_installed(bundle):
    results = quick_results(EdgeConfig(model=bundle))
    assert results[0].backend == "onnxruntime"
    assert all(result.tiles_per_s > 0 for result in results)


def test_a_quota_of_a_control_group_has_a_row(monkeypatch):
    monkeypatch.setattr(doctor, "cpu_quota", lambda: 0.5)
    row = next(finding for finding in examine() if finding.name == "CPU quota")
    assert row.verdict == "lacking"
    assert row.detail.startswith("0.5 of ")


def test_nothing_is_cut_or_coloured_where_nobody_looks_at_a_screen_and_passwords_are_hidden(capsys):
    finding = DeviceFinding("camera", "lacking", "rtsp://admin:secret@10.0.0.7/ch1 " + "x" * 300, "y" * 300)
    print_findings([finding.without_secrets()], Console())
    said = capsys.readouterr().out
    assert "x" * 300 in said
    assert "y" * 300 in said
    assert "secret" not in said
    assert "rtsp://***@10.0.0.7/ch1" in said
    assert "\x1b" not in said


def entry(request, fields):
    """Answer as a driver with one format of two sizes and two rates."""
    if request == v4l2.QUERYCAP:
        struct.pack_into("16s32s", fields, 0, b"uvcvideo", b"Line camera")
        struct.pack_into("I", fields, 88, v4l2.VIDEO_CAPTURE)
        return
    index = struct.unpack_from("I", fields)[0]
    if index >= {v4l2.ENUM_FMT: 1, v4l2.ENUM_FRAMESIZES: 2, v4l2.ENUM_FRAMEINTERVALS: 2}[request]:
        raise OSError(22, "end of the list")
    if request == v4l2.ENUM_FMT:
        fields[44:48] = b"GREY"
    elif request == v4l2.ENUM_FRAMESIZES:
        struct.pack_into("3I", fields, 8, v4l2.DISCRETE, *((640, 480), (2048, 1080))[index])
    else:
        assert struct.unpack_from("2I", fields, 8) == (2048, 1080)
        struct.pack_into("3I", fields, 16, v4l2.DISCRETE, 1, (15, 60)[index])


def test_a_camera_is_said_with_what_it_can_deliver(tmp_path):
    (tmp_path / "video0").touch()
    found = v4l2.video_device(tmp_path / "video0", lambda _fd, request, fields: entry(request, fields))
    assert found.card == "Line camera"
    assert [str(mode) for mode in found.modes] == ["GREY up to 2048 x 1080 px at 60 frames/s"]


def test_a_file_that_is_no_camera_is_said(tmp_path):
    (tmp_path / "video0").touch()
    assert "does not answer" in video_finding([tmp_path / "video0"]).detail

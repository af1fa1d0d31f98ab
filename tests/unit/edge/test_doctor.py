from __future__ import annotations

import json

import pytest

from edge import doctor
from edge.doctor import cuda_finding, examine, print_report


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


def test_what_nothing_uses_is_never_lacking():
    rows = {finding.name: finding for finding in examine()}
    for package in ("tensorrt", "openvino", "pypylon"):
        assert rows[package].verdict == "ok"
        assert "does not use it" in rows[package].detail

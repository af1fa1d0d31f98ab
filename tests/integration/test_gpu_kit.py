"""What is run when a GPU is at hand runs the first time: all of it, at its smallest, on a processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "docs" / "benchmarks" / "gpu_kit.sh"
STEPS = ["data", "train", "torchrun", "onnxruntime", "tensorrt", "preprocess", "tests"]


def kit(folder, *arguments, limit_s=1500):
    environment = {**os.environ, "PYTHON": sys.executable, "FOLDER": str(folder), "OMP_NUM_THREADS": "1"}
    environment["LIMIT_S"] = str(limit_s)
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    return subprocess.run(
        ["bash", KIT, *arguments], capture_output=True, text=True, timeout=1800, env=environment
    )


def results(folder, *steps):
    done = kit(folder, "--smallest", *steps)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {step: json.loads((folder / f"{step}.json").read_text()) for step in steps}
    assert all(one["smallest"] for one in found.values())
    assert all(one["measured_on"]["versions"]["torch"] for one in found.values())
    return found


def test_without_a_step_it_lists_them_and_the_packages(tmp_path):
    (tmp_path / "train.json").write_text("{}")
    done = kit(tmp_path)
    assert done.returncode == 0, done.stderr
    listed = dict(line.split()[:2] for line in done.stdout.splitlines()[: len(STEPS)])
    assert listed == {step: "done" if step == "train" else "-" for step in STEPS}
    for package in ("torch", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "pycuda"):
        assert any(line.startswith(f"{package} ") for line in done.stdout.splitlines())


def test_a_step_that_is_not_there_and_one_that_is_done(tmp_path):
    assert kit(tmp_path, "nothing").returncode == 2
    (tmp_path / "train.json").write_text("{}")
    done = kit(tmp_path, "--smallest", "train")
    assert (done.returncode, (tmp_path / "train.json").read_text()) == (0, "{}")
    assert "remove it to run the step again" in done.stdout


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="says what happens without a GPU")
def test_without_a_gpu_the_full_size_is_refused(tmp_path):
    done = kit(tmp_path, "preprocess")
    assert done.returncode == 1
    assert "--smallest" in done.stderr
    assert not (tmp_path / "preprocess.json").exists()


def test_a_step_ends_at_its_limit_and_says_that_it_can_go_on(tmp_path):
    done = kit(tmp_path, "--smallest", "train", limit_s=1)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "train was cut short: the same command goes on with it" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "train.json").exists()


def test_teacher_and_student_are_trained_alone_under_each_other_and_by_torchrun(tmp_path):
    found = results(tmp_path, "data", "train", "torchrun")
    rows = found["train"]["rows"]
    assert list(rows) == ["YOLOv5p", "YOLOv5p alone", "YOLOv5p under YOLOv5p"]
    assert all(row["images_per_s"] > 0 for row in (*rows.values(), found["torchrun"]["row"]))
    assert found["torchrun"]["row"]["last_loss"] == pytest.approx(
        rows["YOLOv5p alone"]["last_loss"], rel=0.01
    )
    assert found["torchrun"]["collectives"]["all_reduce_ms"]["p50"] > 0
    (tmp_path / "train.json").unlink()
    last = (tmp_path / "taught" / "last.pt").stat().st_mtime_ns
    assert results(tmp_path, "train")["train"]["rows"] == rows
    assert (tmp_path / "taught" / "last.pt").stat().st_mtime_ns == last


def test_runtimes_and_preprocessing_are_compared_with_the_processor(tmp_path):
    found = results(tmp_path, "onnxruntime", "preprocess")
    row = found["onnxruntime"]["rows"]["shipped"]
    assert row["matched"] == 1.0
    assert row["detections"] > 0
    assert row["boxes_max_px"] < 0.5
    assert row["ms"]["batch 1"]["p50"] > 0
    assert found["onnxruntime"]["edge_bench"]["loop_fps"] > 0
    assert found["preprocess"]["most_grey_levels_off"] <= 1.01
    assert found["preprocess"]["pixels_off"] < 0.01


def test_an_engine_is_built_and_what_needs_a_gpu_is_said(tmp_path):
    found = results(tmp_path, "tensorrt", "tests")
    engines = found["tensorrt"]
    if "skipped" not in engines:
        assert engines["engines"]["shipped"]["build_s"] > 0
        assert "not_run" in engines or engines["engines"]["shipped"]["matched"] > 0.9
    assert found["tests"]["exit_code"] == 0
    assert sum(found["tests"]["counts"].values()) > 0

"""The other commands, as a person calls them."""

from __future__ import annotations

import json
import os
import re
import subprocess

import cv2
import numpy as np
import pytest

from edge.bench.capacity import printed_ratio
from edge.commands.loomsight import all_commands
from tests.processes import loomsight, program


def test_a_run_leaves_nothing_in_the_home_folder(tmp_path, bundle):
    home = tmp_path / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = program("edge-run", "--frames", 1, "--camera", "loom:width_px=256", "--model", bundle)
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert list(home.rglob("*")) == []


def test_the_umbrella_lists_every_command():
    shown = loomsight().stdout
    assert all(name in shown for name in all_commands())
    unknown = loomsight("exprot")
    assert unknown.returncode == 2
    assert "Use one of: labels" in unknown.stderr


def in_order(quantiles):
    return 0 < quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"] <= quantiles["max"]


def test_bench_states_ratio_stages_and_what_it_ran_on(tmp_path, bundle):
    out = tmp_path / "bench.json"
    said = loomsight(
        "edge-bench", "--camera", "loom:width_px=512", "--model", bundle, "--frames", 30, "--rounds", 2,
        "--idle-seconds", 0.1, "--json", out,
    )  # fmt: skip
    result = json.loads(out.read_text())
    can = result["capacity"]
    first = f"this device can inspect {can['m_per_min']:.1f} m/min x {can['width_m']:.2f} m at 0.2 mm/px"
    assert said.stdout.splitlines()[0] == first
    shown = re.search(r"loop ([0-9.]+) frames/s, bare engine ([0-9.]+): ratio ([0-9.]+) ", said.stdout)
    loop, engine, ratio = map(float, shown.groups())
    assert ratio == pytest.approx(loop / engine, abs=0.0006)
    assert len(result["rounds"]) == 2
    assert result["ratio"] == printed_ratio(result["loop_fps"], result["engine_fps"], 2, 3)
    assert set(result["stages_ms"]) == {
        "capture", "cloth", "preprocess", "infer", "decode", "merge", "write",
    }  # fmt: skip
    assert all(in_order(quantiles) for quantiles in result["stages_ms"].values())
    assert {"processor", "runtime", "precision", "batch"} <= set(result["measured_on"])
    # Strips of 48 lines and the 16 carried over, in tiles of 64 that share 16: a row of 11, in one batch.
    assert result["frame_hw_px"] == [48, 512]
    assert result["tiles_per_frame"] == 11
    assert result["measured_on"]["batch"] == 11
    beside = result["preprocess_vs_bare_opencv"]
    assert beside["ratio"] == pytest.approx(beside["ours_p50_ms"] / beside["bare_p50_ms"], rel=0.02)
    assert result["after_idle"]["idle_s"] == 0.1
    assert in_order(result["after_idle"]["following_ms"])
    assert in_order(result["cold"]["following_ms"])


def test_bench_restarts_a_folder_that_ends(tmp_path, bundle):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64), np.uint8))
    out = tmp_path / "bench.json"
    loomsight(
        "edge-bench", "--camera", tmp_path, "--model", bundle, "--frames", 5, "--rounds", 1,
        "--idle-seconds", 0, "--json", out,
    )  # fmt: skip
    result = json.loads(out.read_text())
    assert result["frames_per_round"] == 5
    assert len(result["rounds"]) == 1
    assert result["ratio"] == printed_ratio(result["loop_fps"], result["engine_fps"], 2, 3)


def test_a_scale_far_from_the_models_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((256, 2048), np.uint8))
    done = loomsight("edge-run", "--camera", tmp_path / "a.png", "--mm-per-px", 10)
    assert done.returncode == 10
    assert "this model takes 0.05 to 0.8" in done.stderr


def test_doctor_names_what_is_there_and_what_is_not():
    findings = {
        row["name"]: row for row in json.loads(loomsight("edge-doctor", "--json", "--no-measure").stdout)
    }
    assert findings["OpenCV"]["verdict"] == "ok"
    assert "CPUExecutionProvider" in findings["ONNX Runtime"]["detail"]
    assert all(row["cure"] for row in findings.values() if row["verdict"] != "ok")


def test_simulate_writes_a_data_set(tmp_path):
    out = tmp_path / "data"
    done = loomsight(
        "simulate", "--out", out, "--images", 4, "--split", "train=0.5,val=0.5", "--size-hw", 128, 256,
        "--difficulty", "obvious",
    )  # fmt: skip
    assert "train: 2 images" in done.stdout
    assert len(list((out / "images" / "train").glob("*.png"))) == 2
    again = loomsight("simulate", "--out", out, "--images", 4)
    assert again.returncode == 40
    wrong = loomsight("simulate", "--out", tmp_path / "x", "--split", "train=2")
    assert wrong.returncode == 10
    assert not (tmp_path / "x").exists()

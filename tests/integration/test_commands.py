"""The other commands, as a person calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median

import cv2
import numpy as np
import pytest

from edge.commands.loomsight import all_commands

HEAVY = {"numpy", "cv2", "onnxruntime", "torch", "ultralytics", "onnx"}


def loomsight(*arguments, check=True):
    return subprocess.run(
        [sys.executable, "-c", "from edge.commands.loomsight import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=check,
    )


def test_a_run_leaves_nothing_in_the_home_folder(tmp_path, bundle):
    home = tmp_path / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = [
        sys.executable,
        "-c",
        "from edge.commands.loomsight import main; main()",
        "edge-run",
        "--frames",
        "1",
    ]
    command += ["--camera", "loom:width_px=256", "--model", str(bundle)]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert list(home.rglob("*")) == []


def test_the_umbrella_lists_every_command():
    shown = loomsight().stdout
    assert all(name in shown for name in all_commands())
    unknown = loomsight("exprot", check=False)
    assert unknown.returncode == 2
    assert "Use one of: labels" in unknown.stderr


def help_without_heavy_imports(statement, *arguments):
    """Run `--help` in a process of its own that fails if it had to import something heavy for it."""
    program = (
        f"import sys; sys.argv = ['loomsight', *{arguments!r}, '--help']\n"
        f"try: {statement}\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", all_commands())
def test_every_command_explains_itself_without_heavy_imports(name):
    assert f"loomsight {name}" in help_without_heavy_imports(
        "from edge.commands.loomsight import main; main()", name
    )


@pytest.mark.parametrize("command", ["run", "bench", "doctor"])
def test_every_script_of_the_edge_explains_itself_without_heavy_imports(command):
    assert "Usage:" in help_without_heavy_imports(f"from edge.commands.{command}_cli import main; main()")


def in_order(quantiles):
    return 0 < quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"] <= quantiles["max"]


def test_bench_states_ratio_stages_and_what_it_ran_on(tmp_path, bundle):
    out = tmp_path / "bench.json"
    loomsight(
        "edge-bench", "--camera", "loom:width_px=512", "--model", bundle, "--frames", 30, "--rounds", 2,
        "--idle-seconds", 0.1, "--json", out,
    )  # fmt: skip
    result = json.loads(out.read_text())
    assert len(result["rounds"]) == 2
    assert result["ratio"] == pytest.approx(median(result["rounds"]), abs=2e-4)
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
    assert result["rounds"] == [result["ratio"]]
    assert result["ratio"] == pytest.approx(result["loop_fps"] / result["engine_fps"], rel=0.01, abs=1e-4)


def test_a_scale_far_from_the_models_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((256, 2048), np.uint8))
    done = loomsight("edge-run", "--camera", tmp_path / "a.png", "--mm-per-px", 10, check=False)
    assert done.returncode == 10
    assert "this model takes 0.05 to 0.8" in done.stderr


def test_doctor_names_what_is_there_and_what_is_not():
    findings = {
        row["name"]: row for row in json.loads(loomsight("edge-doctor", "--json", check=False).stdout)
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
    again = loomsight("simulate", "--out", out, "--images", 4, check=False)
    assert again.returncode == 40
    wrong = loomsight("simulate", "--out", tmp_path / "x", "--split", "train=2", check=False)
    assert wrong.returncode == 10
    assert not (tmp_path / "x").exists()

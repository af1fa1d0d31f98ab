"""The other commands, as a person calls them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edge.umbrella import COMMANDS


def loomsight(*arguments, check=True):
    return subprocess.run(
        [sys.executable, "-c", "from edge.umbrella import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=check,
    )


def test_the_umbrella_lists_every_command():
    shown = loomsight().stdout
    assert all(name in shown for name in COMMANDS)
    unknown = loomsight("exprot", check=False)
    assert unknown.returncode == 2
    assert "Use one of: simulate" in unknown.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_without_heavy_imports(name):
    program = (
        "import sys; from edge.umbrella import main\n"
        f"sys.argv = ['loomsight', {name!r}, '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'cv2', 'onnxruntime', 'ultralytics'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"loomsight {name}" in done.stdout


def test_bench_states_ratio_stages_and_what_it_ran_on(tmp_path, bundle):
    out = tmp_path / "bench.json"
    loomsight(
        "edge-bench", "--camera", "loom:width_px=512", "--model", bundle, "--frames", 30, "--rounds", 2,
        "--idle-seconds", 0.1, "--json", out,
    )  # fmt: skip
    result = json.loads(out.read_text())
    assert result["ratio"] == pytest.approx(result["loop_fps"] / result["engine_fps"], rel=0.5)
    assert set(result["stages_ms"]) == {"capture", "preprocess", "infer", "decode", "merge", "write"}
    assert {"processor", "runtime", "precision", "batch"} <= set(result["measured_on"])
    assert result["tiles_per_frame"] > 1
    assert result["preprocess_vs_bare_opencv"]["ratio"] > 0
    assert result["after_idle"]["first_ms"] > 0


def test_bench_restarts_a_folder_that_ends(tmp_path, bundle):
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64), np.uint8))
    out = tmp_path / "bench.json"
    loomsight(
        "edge-bench", "--camera", tmp_path, "--model", bundle, "--frames", 5, "--rounds", 1,
        "--idle-seconds", 0, "--json", out,
    )  # fmt: skip
    assert json.loads(out.read_text())["frames_per_round"] == 5


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
    assert "train: 2 pictures" in done.stdout
    assert len(list((out / "images" / "train").glob("*.png"))) == 2
    again = loomsight("simulate", "--out", out, "--images", 4, check=False)
    assert again.returncode == 40
    wrong = loomsight("simulate", "--out", tmp_path / "x", "--split", "train=2", check=False)
    assert wrong.returncode == 10
    assert not (tmp_path / "x").exists()

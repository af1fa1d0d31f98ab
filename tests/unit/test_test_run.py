"""The rules of a test run itself: a skip is said, in CI it fails, a worker that dies leaves its trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import is_for_hardware

ROOT = Path(__file__).parents[2]
SKIPS = """
import pytest
def test_browser(): pytest.skip("no chromium here")
def test_device(): pytest.skip("needs an NVIDIA GPU")
"""
DIES = """
import os, signal
def test_interrupted(): {how}
"""


def run(folder: Path, content: str, *arguments: str, ci: bool = False) -> tuple[int, str]:
    """Run pytest on one file, in a folder of its own with the project's rules."""
    (folder / "test_it.py").write_text(content)
    plugins = ("-p", "tests.skips", "-p", "tests.worker_traces", "-p", "no:cacheprovider")
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key} | {
        "CI": "true" if ci else "", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    alone = ("-q", "-c", os.devnull, "--rootdir", str(folder), *plugins)
    command = [sys.executable, "-m", "pytest", *alone, *arguments, str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_run_says_what_it_did_not_test_and_how_to_bring_it(tmp_path):
    code, said = run(tmp_path, SKIPS)
    assert code == 0
    assert "1  no chromium here" in said
    assert "sudo make test-tools" in said


def test_in_ci_only_hardware_may_be_lacking(tmp_path):
    code, said = run(tmp_path, SKIPS, ci=True)
    assert code == 1
    assert "1 failed, 1 skipped" in said
    assert "which in CI only hardware may cause: no chromium here" in said


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("needs an NVIDIA GPU", True), ("needs CUDA built in, and no GPU", True), ("no chromium here", False)],
)
def test_what_counts_as_hardware(reason, expected):
    assert is_for_hardware(reason) is expected


@pytest.mark.parametrize(
    ("how", "trace"),
    [
        pytest.param("signal.raise_signal(signal.SIGINT)", "KeyboardInterrupt", id="ctrl-c"),
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "Segmentation fault", id="crash"),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", "Current thread", id="terminated"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "test_interrupted", id="killed"),
    ],
)
def test_a_worker_that_dies_leaves_its_trace(tmp_path, how, trace):
    code, said = run(tmp_path, DIES.format(how=how), "-n", "1")
    assert code != 0
    kept = [file.read_text() for file in (tmp_path / "runs" / "tests").iterdir()]
    assert len(kept) == 1
    assert kept[0].startswith("test_it.py::test_interrupted")
    assert trace in kept[0]
    assert trace in said
    assert "exit code" in said


def test_a_worker_that_ends_well_leaves_nothing(tmp_path):
    code, _ = run(tmp_path, "def test_it(): pass\n", "-n", "1")
    assert code == 0
    assert not list((tmp_path / "runs" / "tests").iterdir())

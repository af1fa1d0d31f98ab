"""Signals through the real commands: runs end whole, half-written folders go, nothing is a traceback."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edge.roll.reading import read_rolls
from tests.patience import wait_for
from tests.unit.edge.machine.plc import COILS, Plc

BIN = Path(sys.executable).parent
LIVE = "loom:seed=3,live=true,width_px=512,lines_per_block=128,defects_per_m=20"
PATIENCE_S = 60.0


_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    """End what a test that failed has left: it would take the processor from all others."""
    yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()


def started(*command, cwd, **more):
    line = [str(BIN / command[0]), *map(str, command[1:])]
    process = subprocess.Popen(
        line, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"}, **more,
    )  # fmt: skip
    _started.append(process)
    return process


def ended(process):
    try:
        _, said = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # the fault handler prints where each of its threads stands
        pytest.fail(f"it goes on:\n{process.communicate()[1]}")
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return process.returncode, said


def catches(process, number=signal.SIGHUP):
    """Tell whether a process handles a signal, and so is past the start of its interpreter."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.fixture
def plc():
    with Plc() as served:
        yield served


def settings_of(plc, folder):
    text = f"""
        camera = "{LIVE}"
        mm_per_px = 0.2
        roll_record = "rolls.db"
        summary = "summary.json"
        cloth = "all"
        threads = 1
        [stop]
        mode = "on"
        after_start_m = 0
        most_per_hour = 100
        apart_m = 0
        [stop.classes.broken]
        times = 1
        least_score = 0.05
        [stop.classes.wrinkle]
        times = 1
        least_score = 0.05
        [stop.classes.drop]
        times = 1
        least_score = 0.05
        [machine]
        kind = "modbus"
        port = {plc.port}
        coil = 3
        release_after_s = 600
    """
    file = folder / "box.toml"
    file.write_text(text)
    return file


def stopped_run(plc, folder, **more):
    """Return a run that has stopped its machine."""
    run = started("edge-run", "--config", settings_of(plc, folder), cwd=folder, **more)
    assert wait_for(lambda: run.poll() is not None or plc.read(COILS, 3)), "the machine was never stopped"
    return run


def assert_whole(folder, plc):
    assert plc.read(COILS, 3) == 0
    assert json.loads((folder / "summary.json").read_text())["stopped_on_request"]
    assert [roll.head["status"] for roll in read_rolls(folder / "rolls.db")] == ["finished"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_a_run_ends_with_its_summary_and_takes_the_signal_to_stop_back(number, plc, tmp_path):
    run = stopped_run(plc, tmp_path)
    run.send_signal(number)
    code, said = ended(run)
    assert (code, f"stopping on {number.name}" in said) == (0, True)
    assert_whole(tmp_path, plc)


def test_a_terminal_that_closes_ends_a_run_whole(plc, tmp_path):
    """The kernel sends SIGHUP, and nothing can be written to the terminal any more."""
    ours, theirs = pty.openpty()
    settings_of(plc, tmp_path)
    take = "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    run = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl, os, sys, termios; {take}",
            str(BIN / "edge-run"),
            "--config",
            "box.toml",
        ],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)

    def is_stopped():
        with suppress(BlockingIOError):
            os.read(ours, 65536)  # a terminal that is not read would hold the run up
        return run.poll() is not None or plc.read(COILS, 3)

    assert wait_for(is_stopped), "the machine was never stopped"
    os.close(ours)
    assert run.wait(PATIENCE_S) == 40  # all is whole, but for the summary that could not be shown
    assert_whole(tmp_path, plc)


def test_a_run_under_nohup_goes_on_when_the_terminal_closes(plc, tmp_path):
    run = stopped_run(plc, tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    run.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert run.poll() is None
    assert plc.read(COILS, 3) == 1
    run.send_signal(signal.SIGTERM)
    code, said = ended(run)
    assert (code, "SIGHUP" in said) == (0, False)


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGHUP, 1), (signal.SIGQUIT, 1), (signal.SIGINT, 1)],
)
def test_simulate_leaves_no_half_written_folder(number, workers, tmp_path):
    run = started(
        *("loomsight", "simulate", "--out", "cloth", "--images", 20000, "--workers", workers),
        *("--size-hw", 128, 128),
        cwd=tmp_path,
    )
    assert wait_for(lambda: next(tmp_path.glob(".cloth.partial-*/images/*/*.png"), None)), (
        "nothing was written"
    )
    run.send_signal(number)
    code, said = ended(run)
    assert code == 128 + number
    assert said.strip().splitlines()[-1] == (
        "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    )
    assert list(tmp_path.iterdir()) == []


EARLY = {
    "help": ["loomsight", "--help"],
    "check": ["loomsight", "labels", "check", "nowhere"],
    "doctor": ["edge-doctor"],
    "run": ["edge-run", "--camera", LIVE, "--seconds", "60"],
    "distill": ["distill", "--help"],
}


@pytest.mark.parametrize("command", EARLY.values(), ids=EARLY)
def test_ctrl_c_at_any_time_is_one_word_and_a_documented_code(command, tmp_path):
    """From the first line of the command on, imports included."""
    chance = random.Random(" ".join(command))
    for pause_s in (0.0, 0.01, 0.03, *(chance.uniform(0.05, 0.6) for _ in range(2))):
        run = started(*command, cwd=tmp_path)
        assert wait_for(lambda run=run: run.poll() is not None or catches(run)), "it handles no signals"
        time.sleep(pause_s)
        run.send_signal(signal.SIGINT)
        code, said = ended(run)
        code = 128 - code if code < 0 else code  # as a shell says it: at its very end Python handles none
        assert code in (0, 1, 20, 50, 130)
        last = (said.strip().splitlines() or ["interrupted"])[-1]
        # Its last word may be out already when the signal comes.
        assert last == "interrupted" or last.startswith("error: ") or code != 130

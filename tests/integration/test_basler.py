"""Basler's own emulator: a real pylon in a process of its own, real buffers, and failures on demand."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.app.run import run
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.cameras.choose import choose_camera, watched_camera
from edge.cameras.genicam_locks import PATTERN, SEMAPHORES
from edge.cameras.protocol import NoFrameYetError
from edge.commands.doctor_cameras import basler_finding
from edge.config.edge import EdgeConfig
from edge.core.errors import CameraNotFoundError, ConfigError, ImageError
from edge.inference.inspector import Inspector
from edge.pipeline.parts import Inspection, Source
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.run_state import Limits
from edge.roll.reading import read_roll
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model
from tests.processes import program

pytestmark = pytest.mark.skipif(find_spec("pypylon") is None, reason="Basler's pypylon is not installed")

SMALL = "width=512,height=64"


@pytest.fixture(autouse=True)
def _emulator(monkeypatch):
    monkeypatch.setenv("PYLON_CAMEMU", "1")


def take(camera, count):
    """Read so many frames; return them and how many reads said that a buffer was bad."""
    taken, bad, end_s = [], 0, time.monotonic() + 20
    while len(taken) < count:
        assert time.monotonic() < end_s
        try:
            taken.append(camera.read())
        except NoFrameYetError:
            continue
        except ImageError:
            bad += 1
    return taken, bad


def test_the_doctor_says_of_each_camera_what_it_delivers(monkeypatch):
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    finding = basler_finding()
    assert finding.verdict == "ok"
    first, second = finding.detail.splitlines()
    assert first.startswith("Emulation, serial 0815-0000, BaslerCamEmu: up to 4096 x 4096 px, Mono8 ")
    assert "frames/s" in first
    assert "0815-0001" in second


def test_a_lock_that_a_killed_process_left_does_not_keep_cameras_shut():
    with choose_camera(f"basler:{SMALL}") as camera:
        take(camera, 1)
    for lock in SEMAPHORES.glob(PATTERN):
        lock.write_bytes(struct.pack("=I", 0) + lock.read_bytes()[4:])
    with choose_camera(f"basler:{SMALL}") as camera:
        assert len(take(camera, 1)[0]) == 1


def test_incomplete_buffers_are_counted_and_none_is_delivered():
    with choose_camera(f"basler:{SMALL},forced_failures=7") as camera:
        taken, bad = take(camera, 10)
    assert bad == camera.counters["incomplete"] == 7
    assert camera.counters["lost"] == 0
    assert [frame.frame_id for frame in taken] == list(range(7, 17))
    assert all(frame.image.shape == (64, 512) and frame.image.any() for frame in taken)


def test_of_a_line_camera_incomplete_buffers_are_missing_lines():
    source = f"basler:{SMALL},encoder_mm_per_line=0.5,forced_failures=3"
    with choose_camera(source, mm_per_px=0.25) as camera:
        (first, second), bad = take(camera, 2)
    assert bad == 0
    assert first.follows_on
    assert first.position.along_m == pytest.approx(3 * 64 * 0.5 / 1000)
    assert second.position.first_line - first.position.first_line == 64
    assert (first.position.mm_per_px_along, first.position.mm_per_px_across) == (0.5, 0.25)


def test_images_from_files(tmp_path):
    image = np.random.default_rng(1).integers(0, 255, (64, 512), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    with choose_camera(f"basler:{SMALL},pictures={tmp_path}") as camera:
        (frame,), _ = take(camera, 1)
    assert (frame.image == image).all()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ("serial=40000001", CameraNotFoundError, "Cannot open the Basler camera"),
        ("width=60000", ConfigError, "does not take width=60000"),
        ("line_rate_hz=8000", ConfigError, "has no setting for line_rate_hz"),
        ("trigger=Moon", ConfigError, "does not take trigger=Moon"),
        ("encoder=Line1+Line2", ConfigError, "has no setting for encoder"),
    ],
)
def test_what_the_camera_refuses(settings, error, message):
    with pytest.raises(error, match=message) as caught, choose_camera(f"basler:{settings}"):
        pass
    assert "\n" not in str(caught.value)


def test_the_whole_loop(tmp_path):
    contract = bright_cell_contract()
    model = write_bright_cell_model(tmp_path / "m.onnx", contract)
    source = f"basler:{SMALL},encoder_mm_per_line=0.5,forced_failures=5"
    config = EdgeConfig(camera=source, mm_per_px=0.5)
    camera = watched_camera(choose_camera(source, 0.5), config)
    with OnnxRuntimeBackend(model, contract) as backend:
        how = Inspection(Inspector(backend, contract), CLASSES)
        pipeline = Pipeline(Source(camera, Limits(frames=12)), how)
        state = pipeline.run()
    assert state.error is None
    assert state.coverage.frames_inspected == 12
    assert camera.counters["incomplete"] == 5
    assert camera.down is None


def test_incomplete_buffers_without_a_position_do_not_end_a_run(tmp_path, bundle):
    record = tmp_path / "r.db"
    camera = f"basler:{SMALL},forced_failures=5"
    summary = run(EdgeConfig(camera=camera, model=bundle, frames=12, roll_record=record, queue_frames=100))
    assert (summary["error"], summary["frames"], summary["unreadable"]) == (None, 12, 5)
    assert summary["coverage"] == pytest.approx(12 / 17, abs=1e-6)
    roll = read_roll(record, None)
    assert (roll.head["status"], roll.coverage) == ("finished", pytest.approx(12 / 17))
    assert [(event.kind, event.detail) for event in roll.events] == [("frames left out", "5 unusable")]


def test_ctrl_c_ends_well_and_leaves_no_process(tmp_path, bundle):
    summary = tmp_path / "summary.json"
    more = ["--camera", f"basler:{SMALL}", "--model", bundle, "--summary", summary]
    running = subprocess.Popen(
        program("edge-run", *more), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    end_s = time.monotonic() + 20
    while not (children := children_of(running.pid)):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 0, said
    assert "Traceback" not in said
    assert json.loads(summary.read_text())["stopped_on_request"]
    end_s = time.monotonic() + 20
    while left := [child for child in children if Path(f"/proc/{child}").exists()]:
        assert time.monotonic() < end_s, left  # what it has ended, init takes off the list in its own time
        time.sleep(0.05)


def test_a_child_does_not_outlive_a_killed_parent(bundle):
    command = program("edge-run", "--camera", f"basler:{SMALL}", "--model", bundle)
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end_s = time.monotonic() + 20
    while not (children := children_of(running.pid)):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    running.kill()
    running.wait()
    end_s = time.monotonic() + 10
    while any(is_running(child) for child in children):
        assert time.monotonic() < end_s
        time.sleep(0.05)


def children_of(pid):
    """The camera processes that a process has started."""
    found = [
        child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in text_of(file).split()
    ]
    return [child for child in found if "edge.cameras.child" in text_of(Path(f"/proc/{child}/cmdline"))]


def text_of(file):
    """What a file of the kernel holds; nothing once its thread or process is gone."""
    try:
        return file.read_text()
    except OSError:
        return ""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""Cameras that fail while a real pipeline runs on them: cut short, changed in size, silent, gone."""

from __future__ import annotations

import http.server
import json
import threading

import cv2
import numpy as np
import pytest

from edge.app.run import run
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.cameras import capture
from edge.cameras.choose import choose_camera
from edge.cameras.opencv import OpenCvCamera
from edge.cameras.protocol import Camera, Frame
from edge.config.edge import EdgeConfig
from edge.core.errors import CameraLostError, CameraNotFoundError, FrameSizeError
from edge.inference.inspector import Inspector
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.run_state import Limits
from edge.roll.reading import read_roll
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from edge.sinks.jsonlines import JsonLinesSink
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model


@pytest.fixture
def inspector(tmp_path):
    contract = bright_cell_contract()
    path = write_bright_cell_model(tmp_path / "m.onnx", contract)
    with OnnxRuntimeBackend(path, contract) as backend:
        yield Inspector(backend, contract)


def inspect(camera, inspector, out, recorder=None, observers=(), **source):
    """Run a pipeline to its end; return its state and the frames it recorded."""
    results = Results([JsonLinesSink(out)], recorder=recorder, observers=observers)
    state = Pipeline(Source(camera, **source), Inspection(inspector, CLASSES), results).run()
    return state, [json.loads(line)["frame_id"] for line in out.read_text().splitlines()]


@pytest.fixture
def cut_video(tmp_path):
    path = tmp_path / "roll.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(40):
        writer.write(np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_a_video_cut_short_lowers_the_coverage_and_keeps_what_was_recorded(tmp_path, bundle, cut_video):
    out, summary = tmp_path / "out.jsonl", tmp_path / "summary.json"
    with pytest.raises(CameraLostError, match="of the 40 frames it declares") as caught:
        run(EdgeConfig(camera=str(cut_video), model=bundle, detections=out, summary=summary, mm_per_px=1))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 21
    result = json.loads(summary.read_text())
    frames = len(out.read_text().splitlines())
    assert 10 < frames == result["frames"] < 30
    assert result["unreadable"] == 40 - frames
    assert result["coverage"] == pytest.approx(frames / 40)
    assert result["error"] == str(caught.value)


def test_a_limit_before_the_cut_ends_the_run_well(tmp_path, inspector, cut_video):
    camera = choose_camera(str(cut_video))
    state, frames = inspect(
        camera, inspector, tmp_path / "o.jsonl", limits=Limits(frames=12), queue_frames=60
    )
    assert state.error is None
    assert len(frames) == 12
    assert state.coverage.fraction == 1


class ImageSeries(OpenCvCamera):
    """A camera that really changes its size: OpenCV's reader of numbered images scales nothing."""

    def _open(self):
        return cv2.VideoCapture(self._source, cv2.CAP_IMAGES)


def test_a_frame_of_another_size_in_mid_stream(tmp_path, inspector):
    for number, size in enumerate([(64, 80)] * 3 + [(48, 80)] * 2):
        cv2.imwrite(str(tmp_path / f"f{number:02d}.png"), np.zeros(size, np.uint8))
    camera = ImageSeries(str(tmp_path / "f%02d.png"))
    state, frames = inspect(camera, inspector, tmp_path / "o.jsonl", queue_frames=60)
    assert isinstance(state.error, FrameSizeError)
    assert "frame 3 is of 80 x 48 pixels in grey, those before were of 80 x 64 pixels in grey" in str(
        state.error
    )
    assert frames == [0, 1, 2]


class StreamThatVanishes(http.server.BaseHTTPRequestHandler):
    """Send thirty images as a network camera does, then drop the connection."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(30):
            image = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def vanishing_address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StreamThatVanishes) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/cam.mjpg?user=admin&pwd=secret"
        server.shutdown()
        thread.join(5)


def test_a_network_camera_that_vanishes(tmp_path, inspector, vanishing_address):
    camera = choose_camera(vanishing_address)
    assert camera.is_live
    state, frames = inspect(camera, inspector, tmp_path / "o.jsonl", queue_frames=60)
    assert isinstance(state.error, CameraLostError)
    assert "stopped delivering after" in str(state.error)
    assert frames == list(range(len(frames)))
    assert len(frames) >= 28
    assert "secret" not in str(state.error) + (tmp_path / "o.jsonl").read_text()


def test_a_network_camera_that_vanishes_is_opened_again(tmp_path, bundle, vanishing_address):
    record = tmp_path / "r.db"
    config = EdgeConfig(
        camera=vanishing_address, model=bundle, frames=45, queue_frames=100, roll_record=record
    )
    result = run(config)
    assert result["error"] is None
    assert result["frames"] == 45
    assert result["camera_counters"]["opened again"] == 1
    assert result["camera_counters"]["down: unplugged"] in (1, 2)
    assert result["camera_down_s"] >= 1
    assert 0 < result["coverage"] < 1
    roll = read_roll(record, None)
    assert [event.kind for event in roll.events][:2] == ["camera down", "camera back"]
    assert "secret" not in str(roll.events)


def test_without_reconnect_the_run_ends(bundle, vanishing_address):
    with pytest.raises(CameraLostError, match="stopped delivering"):
        run(EdgeConfig(camera=vanishing_address, model=bundle, reconnect=False))


def test_a_camera_that_is_not_there_at_the_start(bundle):
    with pytest.raises(CameraNotFoundError, match="Cannot open"):
        run(EdgeConfig(camera="http://127.0.0.1:9/cam.mjpg", model=bundle))


def test_a_camera_that_is_waited_for(bundle):
    config = EdgeConfig(camera="http://127.0.0.1:9/cam.mjpg", model=bundle, wait_for_camera=True, seconds=1)
    result = run(config)
    assert result["frames"] == 0
    assert result["error"] is None
    assert result["camera_down_s"] > 0.5


def test_a_silence_is_an_event_of_the_roll(tmp_path, inspector, monkeypatch):
    monkeypatch.setattr(capture, "WAIT_STEP_S", 0.01)
    monkeypatch.setattr("edge.pipeline.ledger.SILENCE_WARNING_S", 0.05)
    camera = PausingCamera()

    def announce(defects, events):
        if [event.kind for event in events] == ["camera silent"]:
            camera.goes_on.set()

    with_record = RollRecorder(tmp_path / "r.db", RollHead("front", "", {}), announce=announce)
    state, _ = inspect(camera, inspector, tmp_path / "o.jsonl", recorder=with_record)
    assert state.error is None
    roll = read_roll(tmp_path / "r.db", None)
    assert [event.kind for event in roll.events] == ["camera silent", "camera back"]
    assert (roll.head["passed_frames"], roll.coverage, roll.grade.grade) == (2, 1, None)


class PausingCamera(Camera):
    """Deliver two frames, the second one only when told to."""

    name = "front"
    is_live = True

    def __init__(self):
        self.goes_on = threading.Event()
        self._count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self):
        self._count += 1
        if self._count == 2:
            assert self.goes_on.wait(30)
        return Frame(self._count, np.zeros((64, 64), np.uint8), 0.0, "x") if self._count < 3 else None


def test_a_silence_is_told_while_it_lasts(tmp_path, inspector, monkeypatch):
    monkeypatch.setattr(capture, "WAIT_STEP_S", 0.01)
    camera, seen = PausingCamera(), []

    def observe(state, records):
        seen.append((state.coverage.frames_inspected, state.silent_s > 0))
        if state.coverage.frames_inspected and state.silent_s > 0.05:
            camera.goes_on.set()

    _, frames = inspect(camera, inspector, tmp_path / "o.jsonl", observers=[observe])
    assert frames == [1, 2]
    assert (1, True) in seen
    assert (2, False) in seen

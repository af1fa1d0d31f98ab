from __future__ import annotations

import json
import resource
import signal

import cv2
import numpy as np
import pytest

from edge.cameras.protocol import Frame, FramePosition
from edge.errors import OutputError
from edge.sinks.files import set_aside, write_whole
from edge.sinks.jsonlines import JsonLinesSink
from edge.sinks.pictures import PictureSink
from edge.sinks.window import WindowSink

FOUND = [{"label": "broken", "score": 0.91, "box_xyxy_px": [3.0, 4.0, 9.0, 30.0]}]


def frame(frame_id=7, image=None, position=None):
    return Frame(frame_id, np.zeros((32, 40), np.uint8) if image is None else image, 0.0, "a.png", position)


@pytest.fixture
def small_disk():
    """Let no file of this process grow beyond 4096 bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_one_line_per_frame(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    with JsonLinesSink(path) as sink:
        sink.write(frame(), FOUND)
        sink.write(frame(8, position=FramePosition(1.5, 1, 1)), [])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"frame_id": 7, "source": "a.png", "detections": FOUND},
        {"frame_id": 8, "source": "a.png", "along_m": 1.5, "detections": []},
    ]


def test_a_line_is_on_disk_before_the_next_frame(tmp_path):
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path) as sink:
        sink.write(frame(), FOUND)
        assert path.read_text().endswith("}\n")


def test_an_earlier_record_is_set_aside(tmp_path):
    path = tmp_path / "out.jsonl"
    for text in ("first", "second"):
        set_aside(path)
        path.write_text(text)
    with JsonLinesSink(path):
        pass
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "out.jsonl": "",
        "out.jsonl.1": "first",
        "out.jsonl.2": "second",
    }


def test_a_full_disk_leaves_whole_lines(tmp_path, small_disk):
    path = tmp_path / "out.jsonl"
    numbers = iter(range(1000))
    with JsonLinesSink(path) as sink, pytest.raises(OutputError, match=r"Cannot write .*out\.jsonl"):
        [sink.write(frame(number), FOUND) for number in numbers]
    written = next(numbers) - 1
    assert written > 10
    assert [json.loads(line)["frame_id"] for line in path.read_text().splitlines()] == list(range(written))


def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path, small_disk):
    path = tmp_path / "summary.json"
    write_whole(path, b"old")
    with pytest.raises(OutputError):
        write_whole(path, b"x" * 10_000)
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]
    assert path.read_bytes() == b"old"


def test_a_path_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "out.jsonl"
    with pytest.raises(OutputError), JsonLinesSink(path):
        pass
    with pytest.raises(OutputError):
        write_whole(path, b"")
    with pytest.raises(OutputError), PictureSink(tmp_path / "file" / "pictures"):
        pass


@pytest.mark.parametrize("shape", [(32, 40), (32, 40, 3)])
def test_pictures_of_frames_with_defects_only(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    with PictureSink(tmp_path) as sink:
        sink.write(frame(1, image), [])
        sink.write(frame(2, image), FOUND)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000002.png", "00000002_boxes.jpg"]
    assert (cv2.imread(str(tmp_path / "00000002.png"), cv2.IMREAD_UNCHANGED) == image).all()


def test_no_screen(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match="no screen"), WindowSink():
        pass

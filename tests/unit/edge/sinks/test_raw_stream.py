from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge.sinks.raw_stream
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.cameras.choose import choose_camera
from edge.cameras.protocol import (
    Camera,
    DroppedFrames,
    Frame,
    FramePosition,
    MissedFramesError,
    NoFrameYetError,
)  # fmt: skip
from edge.cameras.raw_stream import INDEX_NAME, RecordedCamera, RecordedChange
from edge.core.errors import CameraNotFoundError, ConfigError, ImageError, OutputError
from edge.inference.inspector import Inspector
from edge.pipeline.changes import RollChanges, RollRequest
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.run_state import Limits
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from edge.sinks.jsonlines import JsonLinesSink
from edge.sinks.raw_stream import Recording
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model

numbers = st.floats(-1e9, 1e9)
scales = st.floats(0, 1000, exclude_min=True)
positions = st.none() | st.builds(
    FramePosition, numbers, scales, scales, st.none() | numbers, st.none() | numbers
)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.tuples(
    st.integers(1, 9), st.integers(1, 9), st.just(3)
)
images = st.builds(
    lambda shape, seed: np.random.default_rng(seed).integers(0, 256, shape, np.uint8),
    shapes,
    st.integers(0),
)
frames = st.builds(
    Frame,
    frame_id=st.just(0),
    image=images,
    monotonic_s=numbers,
    source=st.text(),
    position=positions,
    mm_per_px=st.none() | scales,
    follows_on=st.booleans(),
    missing_before=st.sampled_from(["lost lines", "camera down", "overrun"]),
    counter=st.none() | st.integers(0, 2**40),
)
changes = st.builds(
    RecordedChange, st.sampled_from(["operator", "signal"]), st.none() | st.text(), st.none() | st.text(),
    st.text(), st.integers(-1, 2**40),
)  # fmt: skip
drops = st.builds(DroppedFrames, st.integers(1, 9), positions, st.integers(0, 999), st.integers(0, 999))
streams = st.lists(frames | drops | changes, max_size=6)


def recorded(folder, items):
    """Record items, frames numbered through; return them as they went in."""
    given_items = [
        replace(item, frame_id=number) if isinstance(item, Frame) else item
        for number, item in enumerate(items)
    ]
    with Recording(folder, "test") as recording:
        for item in given_items:
            if isinstance(item, Frame):
                recording.add(item)
            elif isinstance(item, RecordedChange):
                recording.changed(item)
            else:
                recording.missed(item)
        assert recording.events() == []
    return given_items


def replayed(folder):
    found = []
    with RecordedCamera(folder) as camera:
        camera.on_change = found.append
        while True:
            try:
                frame = camera.read()
            except MissedFramesError as missed:
                found.append(missed.dropped)
                continue
            if frame is None:
                return found
            found.append(frame)


def assert_same(found, meant):
    assert len(found) == len(meant)
    for one, other in zip(found, meant, strict=True):
        if isinstance(one, Frame):
            np.testing.assert_array_equal(one.image, other.image)
            assert one.image.shape == other.image.shape
            assert replace(one, image=None, monotonic_s=0.0) == replace(other, image=None, monotonic_s=0.0)
        else:
            assert one == other


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=streams)
def test_what_went_in_comes_out_to_the_last_bit(tmp_path_factory, items):
    folder = tmp_path_factory.mktemp("r") / "recording"
    meant = recorded(folder, items)
    assert_same(replayed(folder), meant)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=streams, fraction=st.floats(0, 1))
def test_a_recording_cut_off_anywhere_is_whole_up_to_there(tmp_path_factory, items, fraction):
    folder = tmp_path_factory.mktemp("r") / "recording"
    meant = recorded(folder, items)
    index = folder / INDEX_NAME
    head, rest = index.read_bytes().split(b"\n", 1)
    cut = rest[: int(len(rest) * fraction)]
    index.write_bytes(head + b"\n" + cut)
    assert_same(replayed(folder), meant[: cut.count(b"\n")])


class LiveRoll(Camera):
    """Deliver blocks of a roll with bright spots, as fast as they are read; the others are dropped."""

    name = "roll"
    is_live = True

    def __enter__(self):
        self._count, self._generator = 0, np.random.default_rng(3)
        return self

    def __exit__(self, *_):
        pass

    def read(self):
        image = np.zeros((64, 100), np.uint8)
        column = int(self._generator.integers(0, 88))
        image[20:36, column : column + 8] = 255
        position = FramePosition(self._count * 0.064, 1.0, 1.0, left_selvedge_px=0)
        frame = Frame(self._count, image, 0.0, self.name, position, follows_on=True)
        self._count += 1
        return frame


def inspected(camera, folder, tmp_path, recording=None, observers=(), **options):
    """Run a camera into files; return the state, the detections as bytes, and what the record says."""
    contract = bright_cell_contract()
    model = write_bright_cell_model(tmp_path / "m.onnx", contract)
    said = []
    recorder = RollRecorder(
        folder / "rolls.db",
        RollHead("roll", "digest", {}, "roll", None, None, {}),
        announce=lambda defects, events: said.extend(defect.defect for defect in defects),
    )
    sinks = [JsonLinesSink(folder / "out.jsonl")]
    with OnnxRuntimeBackend(model, contract) as backend:
        how = Inspection(Inspector(backend, contract), CLASSES)
        results = Results(sinks, recorder=recorder, recording=recording, observers=observers)
        state = Pipeline(Source(camera, **options), how, results).run()
    assert state.error is None
    return state, (folder / "out.jsonl").read_bytes(), said


def test_a_replay_finds_the_same_defects_and_gaps(tmp_path):
    raw = tmp_path / "raw"
    options = {"limits": Limits(frames=12), "queue_frames": 1}
    live, told, said = inspected(
        LiveRoll(), tmp_path / "live", tmp_path, recording=Recording(raw, "roll"), **options
    )
    again, told_again, said_again = inspected(choose_camera(str(raw)), tmp_path / "again", tmp_path)
    assert live.dropped > 0
    assert told == told_again
    assert told.count(b"label") > 0
    assert said == said_again
    assert list(live.defects) == list(again.defects)
    assert live.coverage.gaps == again.coverage.gaps
    assert live.coverage.lines_delivered == again.coverage.lines_delivered
    assert live.dropped == again.dropped


class SlowRoll(LiveRoll):
    """The camera takes longer than inspection, but now and then: strips go over the borders of blocks."""

    def read(self):
        time.sleep(0.01 if self._count % 4 else 0)
        return super().read()


@pytest.mark.parametrize(
    "limits",
    [Limits(frames=12), Limits(metres=0.5), Limits(seconds=0.3)],
    ids=["frames", "metres", "seconds"],
)
def test_a_replay_ends_where_a_limit_ended_the_run(tmp_path, limits):
    raw = tmp_path / "raw"
    live, told, said = inspected(
        SlowRoll(), tmp_path / "live", tmp_path, recording=Recording(raw, "roll"), limits=limits
    )
    again, told_again, said_again = inspected(choose_camera(str(raw)), tmp_path / "again", tmp_path)
    assert live.total.frames_inspected == again.total.frames_inspected > 0
    assert (told, said, list(live.defects)) == (told_again, said_again, list(again.defects))
    assert live.coverage.gaps == again.coverage.gaps
    assert live.coverage.lines_delivered == again.coverage.lines_delivered


def test_lines_that_were_not_inspected_any_more_are_kept_and_not_replayed(tmp_path):
    with Recording(tmp_path / "raw", "test") as recording:
        for number in range(4):
            recording.add(frame_of(number))
        recording.missed(DroppedFrames(1, None, 4, 4))  # accounted for, so it is delivered
        recording.ended(inspected_lines=10)
    first, second, cut, missed = replayed(tmp_path / "raw")
    assert [len(frame.image) for frame in (first, second, cut)] == [4, 4, 2]
    assert missed == DroppedFrames(1, None, 4, 4)
    assert len(list((tmp_path / "raw").rglob("*.pgm"))) == 4


def test_a_run_that_inspected_all_it_kept_has_no_end_in_its_index(tmp_path):
    with Recording(tmp_path / "raw", "test") as recording:
        recording.add(frame_of())
        recording.ended(inspected_lines=4)
    assert len((tmp_path / "raw" / INDEX_NAME).read_bytes().splitlines()) == 2
    assert len(replayed(tmp_path / "raw")) == 1


@pytest.mark.parametrize("asked_at", [5, 12], ids=["in the middle", "behind the last frame"])
def test_a_replay_changes_rolls_where_they_changed(tmp_path, asked_at):
    raw, changes, asked, done = tmp_path / "raw", RollChanges(), [], threading.Event()

    def ask(state, _):
        if state.coverage.frames_inspected >= asked_at and not asked:
            asked.append(changes.ask(RollRequest("operator", "B", "twill")))
        if state.rolls:
            done.set()

    class Stands(LiveRoll):
        """The loom stands behind the last block, until the roll has changed."""

        def read(self):
            time.sleep(0.005)
            if self._count < 12:
                return super().read()
            if done.is_set():
                return None
            raise NoFrameYetError

    live, told, _ = inspected(
        Stands(),
        tmp_path / "live",
        tmp_path,
        recording=Recording(raw, "roll"),
        changes=changes,
        observers=[ask],
        queue_frames=12,  # all are inspected, however slow the processor is: else nobody ever asks
        limits=Limits(seconds=60),
    )
    camera, again = choose_camera(str(raw)), RollChanges()
    camera.on_change = again.replay
    replay, told_again, _ = inspected(camera, tmp_path / "again", tmp_path, changes=again)
    assert told == told_again
    assert len(live.rolls) == len(replay.rolls) == 1
    assert [roll.as_json() for roll in live.rolls] == [roll.as_json() for roll in replay.rolls]
    assert live.roll.terms == replay.roll.terms
    assert live.roll.terms.name == "B"
    assert live.roll.coverage.first_line == replay.roll.coverage.first_line


def frame_of(number=0):
    return Frame(number, np.full((4, 4), number, np.uint8), 0.0, "test")


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path, monkeypatch, caplog):
    with Recording(tmp_path / "raw", "test") as recording:
        recording.add(frame_of(0))
        usage = shutil.disk_usage(tmp_path)._replace(free=100)
        monkeypatch.setattr(edge.sinks.raw_stream.shutil, "disk_usage", lambda _: usage)
        for number in (1, 2):
            recording.add(frame_of(number))
        recording.missed(DroppedFrames(1, None, 4, 2))
        (event,) = recording.events()
        assert recording.events() == []
    assert event.kind == "recording ended"
    assert "1 frame recorded" in event.detail
    assert caplog.text.count("recording ended") == 1
    assert_same(replayed(tmp_path / "raw"), [frame_of(0)])


def test_an_image_that_cannot_be_written_ends_the_recording(tmp_path):
    with Recording(tmp_path / "raw", "test") as recording:
        (tmp_path / "raw" / "000000").write_text("in the way")
        recording.add(frame_of())
        assert [event.kind for event in recording.events()] == ["recording ended"]
    assert replayed(tmp_path / "raw") == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="not empty"), Recording(tmp_path, "test"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "raw").write_text("mine")
    with pytest.raises(OutputError), Recording(tmp_path / "raw", "test"):
        pass


@pytest.mark.parametrize(
    ("index", "error"),
    [
        ("", CameraNotFoundError),
        ("no json\n", CameraNotFoundError),
        ("[]\n", CameraNotFoundError),
        (json.dumps({"format": 5}) + "\n", CameraNotFoundError),
        (json.dumps({"format": 1}) + '\n{"frame_id": "x"}\n', ImageError),
    ],
)
def test_a_damaged_index_is_said(tmp_path, index, error):
    (tmp_path / INDEX_NAME).write_text(index)
    with pytest.raises(error, match=INDEX_NAME):
        replayed(tmp_path)


def test_an_image_cut_off_is_unreadable_and_the_next_one_is_read(tmp_path):
    recorded(tmp_path / "raw", [frame_of(), frame_of()])
    image = min((tmp_path / "raw").rglob("*.pgm"))
    image.write_bytes(image.read_bytes()[:-3])
    with RecordedCamera(tmp_path / "raw") as camera:
        with pytest.raises(ImageError):
            camera.read()
        assert camera.read().frame_id == 1
        assert camera.read() is None


def change_line(folder, number, **changes):
    """Change keys of one line of an index; the text of a value stands for JSON that Python cannot write."""
    index = folder / INDEX_NAME
    lines = index.read_text().splitlines()
    entry = json.loads(lines[number - 1])
    entry["position"] |= {key: changes.pop(key) for key in list(changes) if key in entry["position"]}
    lines[number - 1] = json.dumps(entry | changes)
    index.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"along_m": float("nan")},
        {"along_m": float("inf")},
        {"along_m": 1e300},
        {"mm_per_px_along": 0.0},
        {"mm_per_px_across": -1.0},
        {"left_selvedge_px": float("nan")},
        {"along_m": "far"},
        {"along_m": None},
        {"frame_id": -1},
        {"frame_id": 1e400},
        {"frame_id": 10**400},
        {"mm_per_px": float("nan")},
        {"picture": "../outside.pgm"},
        {"picture": "/etc/passwd"},
        {"picture": 7},
        {"missing_before": "weather"},
        {"follows_on": []},
    ],
    ids=str,
)
def test_an_entry_with_a_wrong_value_is_one_line_and_the_next_one_is_read(tmp_path, changes):
    placed = replace(frame_of(), position=FramePosition(1.0, 0.1, 0.1))
    recorded(tmp_path / "raw", [placed, placed, placed])
    change_line(tmp_path / "raw", 3, **changes)
    with RecordedCamera(tmp_path / "raw") as camera:
        assert camera.read().frame_id == 0
        with pytest.raises(ImageError, match=r"Line 3 of .* is damaged"):
            camera.read()
        assert camera.read().frame_id == 2
        assert camera.read() is None


@pytest.mark.parametrize("line", ["[" * 60_000, "x" * 200_000, '{"frame_id":'], ids=["deep", "long", "cut"])
def test_a_line_without_sense_is_damage_and_nothing_worse(tmp_path, line):
    recorded(tmp_path / "raw", [frame_of()])
    with (tmp_path / "raw" / INDEX_NAME).open("a") as index:
        index.write(line + "\n")
    with RecordedCamera(tmp_path / "raw") as camera:
        assert camera.read().frame_id == 0
        with pytest.raises(ImageError, match="Line 3"):
            camera.read()


def test_a_pipe_in_place_of_a_recorded_image_is_refused(tmp_path):
    recorded(tmp_path / "raw", [frame_of()])
    image = next((tmp_path / "raw").rglob("*.pgm"))
    image.unlink()
    os.mkfifo(image)
    with RecordedCamera(tmp_path / "raw") as camera, pytest.raises(ImageError, match="is a pipe"):
        camera.read()

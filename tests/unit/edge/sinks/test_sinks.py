from __future__ import annotations

import json
import os
import pathlib
import resource
import signal
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections import deque
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.cameras.protocol import Frame, FramePosition
from edge.core.errors import OutputError
from edge.core.files import is_stream, set_aside, write_whole
from edge.sinks import images as images_module
from edge.sinks import quota as quota_module
from edge.sinks.images import ImageSink
from edge.sinks.jsonlines import JsonLinesSink
from edge.sinks.near_misses import NearMissSink
from edge.sinks.quota import ImageQuota
from edge.sinks.window import WindowSink
from edge.sinks.written import LIST_NAME, Written, WrittenList

PLENTY = 1 << 40
FOUND = [{"label": "broken", "score": 0.91, "box_xyxy_px": [3.0, 4.0, 9.0, 30.0]}]


def image_sink(folder, **more):
    """Return a sink whose images all stay."""
    return ImageSink(folder, ImageQuota(folder, PLENTY), **more)


def near_miss_sink(folder, per_hour, **more):
    """Return a sink whose images all stay."""
    return NearMissSink(folder, ImageQuota(folder, PLENTY), per_hour, **more)


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
    with pytest.raises(OutputError), image_sink(tmp_path / "file" / "images"):
        pass


@pytest.mark.parametrize("shape", [(32, 40), (32, 40, 3)])
def test_images_of_frames_with_defects_only(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    with image_sink(tmp_path) as sink:
        sink.write(frame(1, image), [])
        sink.write(frame(2, image), FOUND)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000002.png", "00000002_boxes.jpg"]
    assert (cv2.imread(str(tmp_path / "00000002.png"), cv2.IMREAD_UNCHANGED) == image).all()


def earlier_images(root, sizes):
    """Lay down images of an earlier run, the oldest first."""
    for number, size in enumerate(sizes):
        path = root / "earlier" / f"{number:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        WrittenList(root).add(path, path.stat())


@given(
    sizes=st.lists(st.integers(0, 100), max_size=8),
    new=st.lists(st.integers(0, 100), min_size=1, max_size=8),
    limit=st.integers(0, 400),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_oldest_images_make_room(tmp_path_factory, sizes, new, limit):
    root = tmp_path_factory.mktemp("q")
    earlier_images(root, sizes)
    (root / "notes.txt").write_bytes(bytes(1000))
    quota = ImageQuota(root, limit, WrittenList(root))
    quota.look()
    for number, size in enumerate(new):
        path = root / f"{number + 10:08d}_boxes.jpg"
        path.write_bytes(bytes(size))
        quota.note(path, path.stat())
        quota.added(path)
    left = sorted((path for path in root.rglob("0*") if path.is_file()), key=lambda path: path.name)
    every = [*sizes, *new]
    kept = [path.stat().st_size for path in left]
    assert kept == every[len(every) - len(kept) :]
    assert sum(kept) <= limit or len(kept) == 1
    if quota.deleted:  # not one more than had to go
        assert sum(every[len(every) - len(kept) - 1 :]) > limit
    assert (root / "notes.txt").exists()
    assert (root / "earlier").exists() == bool(list(root.rglob("earlier/*")))


@given(
    steps=st.lists(st.tuples(st.integers(0, 10**13 - 1), st.integers(0, 2), st.integers(0, 3)), max_size=60)
)
def test_files_come_back_in_order_and_whole(steps):
    files, meant = quota_module.FilesInOrder(), deque()
    quota_module.MOST_GONE, before = 3, quota_module.MOST_GONE
    try:
        for number, ending, taken in steps:
            path = Path(f"/p/{number % 4}/{number:08d}{quota_module.ENDINGS[ending]}")
            meant.append(Written(path, number % 1000, number % 77))
            files.append(meant[-1])
            for _ in range(min(taken, len(meant))):
                assert files.popleft() == meant.popleft()
            assert len(files) == len(meant)
    finally:
        quota_module.MOST_GONE = before


def test_an_image_costs_a_box_that_runs_for_months_next_to_no_memory():
    files = quota_module.FilesInOrder()
    tracemalloc.start(10)
    for number in range(20_000):
        files.append(Written(Path(f"/p/{number:08d}.png"), 90_000, 10**18 + number))
    taken = tracemalloc.take_snapshot()
    tracemalloc.stop()
    # What other threads take is left out, and the interpreter's table of strings, which pathlib lets grow.
    own = taken.filter_traces(
        [tracemalloc.Filter(True, __file__, all_frames=True), tracemalloc.Filter(False, pathlib.__file__)]
    )
    kept = sum(one.size for one in own.statistics("filename"))
    assert 20 * 20_000 < kept < 40 * 20_000


def test_images_stay_below_their_limit(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (32, 40), np.uint8)
    run = tmp_path / "run"
    with ImageSink(run, ImageQuota(tmp_path, 9000)) as sink:
        for number in range(9):
            sink.write(frame(number, image), FOUND)
    names = sorted(path.name for path in run.iterdir())
    assert sum(path.stat().st_size for path in run.iterdir()) <= 9000
    assert names[-1] == "00000008_boxes.jpg"
    assert "00000000.png" not in names


def test_an_image_that_another_run_deleted_is_no_failure(tmp_path):
    earlier_images(tmp_path, [50, 50])
    quota = ImageQuota(tmp_path, 60, WrittenList(tmp_path))
    quota.look()
    (tmp_path / "earlier" / "00000000.png").unlink()
    new = tmp_path / "00000009.png"
    new.write_bytes(b"")
    quota.note(new, new.stat())
    quota.added(new)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["00000001.png", "00000009.png"]


def theirs(root):
    """Put images and labels of a person below the folder, under names as this program gives them."""
    folder = root / "my-labelled"
    folder.mkdir(parents=True)
    for name in ("20240117.png", "20240117.xml", "00000001_boxes.jpg", ".00000002.png-abc"):
        (folder / name).write_bytes(bytes(5000))
        os.utime(folder / name, (1, 1))
    return folder


def test_what_others_wrote_stays_whatever_it_is_called(tmp_path):
    folder = theirs(tmp_path)
    image = np.random.default_rng(0).integers(0, 255, (32, 40), np.uint8)
    for run in ("run1", "run2"):
        quota = ImageQuota(tmp_path, 9000, WrittenList(tmp_path))
        with ImageSink(tmp_path / run, quota) as sink:
            for number in range(9):
                sink.write(frame(number, image), FOUND)
        assert len(list(folder.iterdir())) == 4
    assert not (tmp_path / "run1").exists(), "of an earlier run, on the list: the oldest made room"
    assert sum(path.stat().st_size for path in (tmp_path / "run2").iterdir()) <= 9000
    listed = [one.path for one in WrittenList(tmp_path).read() if one.is_as_written]
    assert sorted(listed) == sorted((tmp_path / "run2").iterdir())


def test_an_image_that_a_person_changed_is_theirs(tmp_path):
    earlier_images(tmp_path, [50, 50, 50])
    corrected = tmp_path / "earlier" / "00000000.png"
    corrected.write_bytes(bytes(51))
    touched = tmp_path / "earlier" / "00000001.png"
    os.utime(touched, (10**9, 10**9))
    quota = ImageQuota(tmp_path, 1, WrittenList(tmp_path))
    with ImageSink(tmp_path / "run", quota) as sink:
        sink.write(frame(9), FOUND)
    assert corrected.exists()
    assert touched.exists()
    assert not (tmp_path / "earlier" / "00000002.png").exists()


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"\xff\0\n", b"50 1 /etc/00000000.png", b"50 1 ../../00000000.png", b"9" * 5000],
)
def test_damaged_lines_of_the_list_delete_nothing_and_are_said(tmp_path, caplog, line):
    earlier_images(tmp_path, [50])
    with (tmp_path / LIST_NAME).open("ab") as stream:
        stream.write(line)
    quota = ImageQuota(tmp_path, 1, WrittenList(tmp_path))
    with ImageSink(tmp_path / "run", quota) as sink:
        sink.write(frame(9), FOUND)
    assert not (tmp_path / "earlier").exists()
    assert "damaged" in caplog.text
    assert [one.path.name for one in WrittenList(tmp_path).read()][-1] == "00000009_boxes.jpg"


@pytest.mark.parametrize("at", [1, 2])
def test_a_kill_between_list_and_image_forgets_none(tmp_path, monkeypatch, at):
    """A line comes before its image: whatever is there is on the list."""
    replace, calls = Path.replace, []

    def killed(path, target):
        calls.append(target)
        if len(calls) == at:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    quota = ImageQuota(tmp_path, 9000, WrittenList(tmp_path))
    with pytest.raises(KeyboardInterrupt), ImageSink(tmp_path / "run", quota) as sink:
        sink.write(frame(9), FOUND)
    there = {path for path in (tmp_path / "run").glob("0*")}
    assert there <= {one.path for one in WrittenList(tmp_path).read()}
    assert len(there) == at - 1


def test_beside_a_record_images_are_left_out_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(images_module, "RETRY_S", 0.0)
    noise = np.random.default_rng(1).integers(0, 255, (80, 80), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with image_sink(tmp_path / "p", may_miss=True) as sink:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            for number in range(3):
                sink.write(frame(number, noise), FOUND)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert list((tmp_path / "p").iterdir()) == []
        sink.write(frame(3, noise), FOUND)
        assert [event.kind for event in sink.events()] == ["images not written", "images written again"]
        assert sink.events() == []
    written = sorted(path.name for path in (tmp_path / "p").iterdir())
    assert written == ["00000003.png", "00000003_boxes.jpg"]


def test_without_a_record_an_image_that_cannot_be_written_is_an_error(tmp_path, small_disk):
    noise = np.random.default_rng(1).integers(0, 255, (80, 80), np.uint8)
    with image_sink(tmp_path / "p") as sink, pytest.raises(OutputError):
        sink.write(frame(0, noise), FOUND)


def test_no_screen(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match="no screen"), WindowSink():
        pass


def test_a_folder_is_not_set_aside_for_a_file(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for write in (set_aside, lambda path: JsonLinesSink(path).__enter__()):
        with pytest.raises(OutputError, match=r"out is a folder\. Name a file\."):
            write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def write_lines(path):
    with JsonLinesSink(path) as sink:
        sink.write(frame(1), FOUND)
        sink.write(frame(2), [])


def write_file(path):
    set_aside(path)
    write_whole(path, b"summary\n")


@pytest.mark.parametrize("write", [write_lines, write_file])
def test_a_device_is_written_in_place(tmp_path, write):
    """A link stands for /dev/null, so that a mistake in the code does not cost this machine its own."""
    device = tmp_path / "null"
    device.symlink_to("/dev/null")
    write(device)
    assert [path.name for path in tmp_path.iterdir()] == ["null"]
    assert str(device.readlink()) == "/dev/null"
    assert stat.S_ISCHR(device.stat().st_mode)


@pytest.mark.parametrize("write", [write_lines, write_file])
def test_a_fifo_is_written_in_place(tmp_path, write):
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write(fifo)
    reader.join(10)
    assert len(read[0].splitlines()) == {write_lines: 2, write_file: 1}[write]
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_in_a_file_keeps_its_place(tmp_path, name):
    """`--summary /dev/stdout > file`: a regular file, but the shell's, and in use."""
    program = (
        "import sys; from pathlib import Path; from edge.core.files import set_aside, write_whole\n"
        "print('before', flush=True)\n"
        "path = Path(sys.argv[1]); set_aside(path); write_whole(path, b'summary\\n')\n"
        "print('after')"
    )
    link = tmp_path / "link"
    link.symlink_to(name)
    with (tmp_path / "out.txt").open("w") as out:
        subprocess.run([sys.executable, "-c", program, link], stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\nsummary\nafter\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out.txt"]


def test_a_pipe_nobody_reads_is_an_output_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        sink = JsonLinesSink(Path(f"/dev/fd/{writing}"))
        with sink, pytest.raises(OutputError, match="Broken pipe"):
            sink.write(frame(1), FOUND)
    finally:
        os.close(writing)


def test_what_is_a_stream(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("file")
    assert not any(is_stream(tmp_path / name) for name in (".", "file", "link", "loop", "missing"))


@pytest.mark.parametrize("name", ["00000002.png", "00000002_boxes.jpg", ".00000002.png-x1y2z3_4"])
def test_images_of_an_earlier_run_are_set_aside(tmp_path, name):
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / name).write_text("earlier")
    with image_sink(folder) as sink:
        sink.write(frame(2), FOUND)
    assert (tmp_path / "found.1" / name).read_text() == "earlier"
    assert sorted(path.name for path in folder.iterdir()) == ["00000002.png", "00000002_boxes.jpg"]


@pytest.mark.parametrize("name", ["a.png", "2.png", "00000002.png.txt", "src"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, name):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / name).touch()
    (folder / "00000001.png").touch()
    with (
        pytest.raises(OutputError, match=f"home holds {name}") as caught,
        image_sink(folder),
    ):
        pass
    assert "Name a new folder" in caught.value.cure
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_the_folder_the_program_runs_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Path()
    with image_sink(here) as sink:
        sink.write(frame(2), FOUND)
    with (
        pytest.raises(OutputError, match="cannot be renamed"),
        image_sink(here),
    ):
        pass
    with (
        pytest.raises(OutputError, match="is not a folder"),
        image_sink(tmp_path / "00000002.png"),
    ):
        pass


NEAR = [{"label": "drop", "score": 0.55, "box_xyxy_px": [3.4, 4.0, 9.6, 30.0]}]


def test_a_near_miss_is_an_image_that_labelimg_opens(tmp_path):
    image = np.arange(32 * 40, dtype=np.uint8).reshape(32, 40)
    with near_miss_sink(tmp_path / "near", 30) as sink:
        sink.write(frame(12, image), NEAR)
    assert (cv2.imread(str(tmp_path / "near" / "00000012.png"), cv2.IMREAD_UNCHANGED) == image).all()
    annotation = ElementTree.parse(tmp_path / "near" / "00000012.xml").getroot()
    assert annotation.findtext("filename") == "00000012.png"
    assert [annotation.findtext(f"size/{side}") for side in ("width", "height", "depth")] == [
        "40",
        "32",
        "1",
    ]
    assert annotation.findtext("object/name") == "drop"
    box = annotation.find("object/bndbox")
    assert [box.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")] == ["3", "4", "10", "30"]


def test_no_more_near_misses_than_an_hour_may_have(tmp_path):
    now = [0.0]
    sink = near_miss_sink(tmp_path / "near", 2, clock=lambda: now[0])
    for number in range(12):
        now[0] = number * 600.0
        sink.write(frame(number), NEAR)
    written = sorted(int(path.stem) for path in (tmp_path / "near").glob("*.png"))
    assert written == [0, 1, 6, 7]


def test_without_near_misses_there_is_no_folder(tmp_path):
    near_miss_sink(tmp_path / "near", 30).write(frame(), [])
    assert not (tmp_path / "near").exists()


def test_a_near_miss_on_a_full_disk_is_left_out_for_a_minute(tmp_path, small_disk):
    now, noise = [0.0], np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    sink = near_miss_sink(tmp_path / "near", 30, clock=lambda: now[0])
    sink.write(frame(1, noise), NEAR)
    assert list((tmp_path / "near").iterdir()) == []
    sink.write(frame(2), NEAR)
    assert list((tmp_path / "near").iterdir()) == []
    now[0] = 61.0
    sink.write(frame(3), NEAR)
    assert (tmp_path / "near" / "00000003.xml").exists()


def test_near_misses_share_the_quota_and_the_folder_of_the_images(tmp_path):
    quota = ImageQuota(tmp_path, 1)
    with ImageSink(tmp_path, quota) as images:
        NearMissSink(tmp_path / "near", quota, 30).write(frame(1), NEAR)
        images.write(frame(2), FOUND)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["00000002_boxes.jpg"]
    near_miss_sink(tmp_path / "near", 30).write(frame(3), NEAR)
    with ImageSink(tmp_path, quota):
        assert not (tmp_path / "near").exists(), "renamed with the images of the earlier run"

"""A roll record on real SQLite files: durable, exact, and honest about what could not be written."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.core.errors import ConfigError, OutputError, RecordError
from edge.roll import recorder as recorder_module
from edge.roll import waiting as waiting_module
from edge.roll.database import BUSY_MS, RecordFile
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from tests.processes import program

HERE = Path(__file__).parent


def head(name=None, article=None):
    return RollHead("loom", "f" * 64, {"grade_limits": {"first": 20.0}}, name, article)


def defect(start_m=0.1, class_name="broken"):
    return ClothDefect(class_name, 0.9, start_m, start_m + 0.05, 10.0, 20.0)


def frame(number, first_line, lines=100):
    position = FramePosition(first_line / 1000, 1.0, 375.0)
    return Frame(number, np.zeros((lines, 4), np.uint8), 0.0, "test", position)


def rows(path, query, *values):
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query, values)]


def recorded(path, first_lines, name=None, defects=(), **more):
    """Record frames of 100 lines that begin at these lines; return what was announced."""
    told = []
    coverage = Coverage()
    with RollRecorder(path, head(name), announce=lambda d, e: told.extend([*d, *e]), **more) as recorder:
        for number, line in enumerate(first_lines):
            coverage.passed(frame(number, line))
            recorder.add(defects if number == 0 else [], coverage, 1500.0)
        recorder.finish(coverage, 1500.0, "finished")
    return told


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rolls.db"


def test_a_roll_is_recorded_with_its_gaps_and_its_grade(path):
    (told,) = recorded(path, [0, 100, 300], "R1", [defect()])
    (roll,) = rows(path, "SELECT * FROM rolls")
    assert (roll["name"], roll["status"], roll["passed_lines"], roll["inspected_lines"]) == (
        "R1",
        "finished",
        400,
        300,
    )
    assert (roll["points"], roll["grade"], roll["cloth_width_mm"]) == (1, "below grade", 1500.0)
    assert roll["points_per_100_m2"] == pytest.approx(100 / (0.3 * 1.5))
    (row,) = rows(path, "SELECT * FROM defects")
    assert (row["event_id"], row["start_m"], row["points"]) == (told.event_id, 0.1, 1)
    (gap,) = rows(path, "SELECT * FROM gaps")
    assert (gap["start_m"], gap["end_m"], gap["reason"]) == (0.2, 0.3, "lost lines")


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 1500), st.integers(1, 200), st.sampled_from(["seen", "bare", "dropped"])),
        min_size=1,
        max_size=25,
    )
)
def test_inspected_and_gaps_add_up_in_the_record_at_any_moment(steps):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.db"
        coverage = Coverage()
        with RollRecorder(path, head()) as recorder:
            ids = {}
            for number, (line, lines, what) in enumerate(steps):
                one = frame(number, line, lines)
                if what == "dropped":
                    coverage.missed(one.position, lines, "overrun")
                else:
                    coverage.passed(one, np.full(lines, what == "seen"))
                recorder.event("tick", "")
                recorder.add([], coverage, None)
                gaps = rows(path, "SELECT * FROM gaps ORDER BY start_line")
                (roll,) = rows(path, "SELECT * FROM rolls")
                assert roll["inspected_lines"] + sum(gap["lines"] for gap in gaps) == roll["passed_lines"]
                assert [(gap["start_line"], gap["lines"], gap["reason"]) for gap in gaps] == [
                    (gap.start - coverage.first_line, gap.end - gap.start, gap.reason)
                    for gap in coverage.gap_list
                ]
                for gap in gaps:  # an id never comes to mean another place
                    assert ids.setdefault(gap["event_id"], gap["start_line"]) == gap["start_line"]


def test_a_named_roll_goes_on_behind_what_passed(path):
    recorded(path, [0, 100], "R1", [defect()])
    recorded(path, [5000, 5300], "R1", [defect(5.02)])
    (roll,) = rows(path, "SELECT * FROM rolls")
    assert (roll["passed_lines"], roll["inspected_lines"], roll["reached_line"]) == (600, 400, 600)
    assert [row["start_m"] for row in rows(path, "SELECT start_m FROM defects ORDER BY 1")] == [
        0.1,
        pytest.approx(0.22),
    ]
    assert [(gap["start_m"], gap["end_m"]) for gap in rows(path, "SELECT * FROM gaps")] == [(0.3, 0.5)]
    assert [event["kind"] for event in rows(path, "SELECT * FROM events")] == ["roll continued"]
    assert roll["points"] == 2


def test_a_roll_without_a_name_is_a_new_one_each_time(path):
    recorded(path, [0])
    recorded(path, [0])
    assert len(rows(path, "SELECT * FROM rolls")) == 2


def test_a_roll_goes_on_with_its_article_and_scale_only(path):
    with RollRecorder(path, head("R1", "A7")):
        pass
    with pytest.raises(ConfigError, match="'A7', not 'B2'"), RollRecorder(path, head("R1", "B2")):
        pass
    recorded(path, [0], "R1")
    coverage = Coverage()
    coverage.passed(Frame(0, np.zeros((9, 4), np.uint8), 0.0, "x", FramePosition(0.0, 0.5, 0.5)))
    with (
        RollRecorder(path, head("R1")) as recorder,
        pytest.raises(ConfigError, match=r"1 mm per line; this camera has 0\.5"),
    ):
        recorder.add([], coverage, None)


def test_a_roll_left_open_is_closed_as_interrupted(path):
    coverage = Coverage()
    coverage.passed(frame(0, 0))
    with RollRecorder(path, head("R1")) as recorder:  # and no `finish`: as after a kill
        recorder.add([defect()], coverage, 1500.0)
    recorded(path, [0], "R2")
    first, second = rows(path, "SELECT * FROM rolls ORDER BY name")
    assert (first["status"], second["status"]) == ("interrupted", "finished")
    assert first["ended_utc"] == first["last_utc"]
    assert (first["points"], first["inspected_lines"]) == (1, 100)
    assert [event["kind"] for event in rows(path, "SELECT * FROM events")] == ["roll interrupted"]


def test_images_that_could_not_be_read_are_a_gap_without_a_place(path):
    coverage = Coverage()
    coverage.passed(frame(0, 0))
    coverage.frames_unreadable = 2
    for _ in range(2):
        with RollRecorder(path, head("R1")) as recorder:
            recorder.finish(coverage, None, "finished")
    (roll,) = rows(path, "SELECT * FROM rolls")
    gaps = rows(path, "SELECT * FROM gaps")
    assert [(gap["lines"], gap["start_m"], gap["reason"]) for gap in gaps] == [
        (200, None, "unreadable")
    ] * 2
    assert (roll["passed_lines"], roll["inspected_lines"], roll["grade"]) == (600, 200, None)


def full_when(file, pages):
    file.connection.execute(f"PRAGMA max_page_count = {pages}")


def test_on_a_full_disk_defects_wait_and_keep_their_ids(path, monkeypatch, caplog):
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.0)
    told, coverage = [], Coverage()
    with RollRecorder(path, head("R1"), announce=lambda d, e: told.extend([*d, *e])) as recorder:
        coverage.passed(frame(0, 0))
        full_when(recorder._file, 1)
        found = 0
        while not caplog.records or "waits" not in caplog.text:
            recorder.add([defect(class_name="x" * 3000)], coverage, None)
            found += 1
        before = len(told)
        recorder.add([defect()], coverage, None)
        assert len(told) == before  # nothing is announced that is not on the disk
        assert len(rows(path, "SELECT * FROM defects")) == before < found
        full_when(recorder._file, 10**6)
        coverage.passed(frame(1, 100))
        recorder.add([], coverage, None)
        recorder.finish(coverage, None, "finished")
    ids = [
        row["event_id"]
        for row in rows(path, "SELECT event_id FROM defects UNION ALL SELECT event_id FROM events")
    ]
    assert sorted(ids) == sorted(one.event_id for one in told)
    assert len(rows(path, "SELECT * FROM defects")) == found + 1
    kinds = [event["kind"] for event in rows(path, "SELECT * FROM events")]
    assert kinds == ["record not written", "record written again"]
    assert caplog.text.count("Inspection goes on") == 1


def test_what_is_still_not_written_at_the_end_is_an_error(path):
    coverage = Coverage()
    coverage.passed(frame(0, 0))
    with RollRecorder(path, head("R1")) as recorder:
        full_when(recorder._file, 1)
        for _ in range(30):
            recorder.add([defect(class_name="x" * 3000)], coverage, None)
        with pytest.raises(OutputError, match=r"full\. \d+ defects? and \d events? are not recorded"):
            recorder.finish(coverage, None, "finished")


def test_more_than_can_wait_is_counted_and_said(path, monkeypatch):
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.0)
    monkeypatch.setattr(waiting_module, "MOST_WAITING", 5)
    coverage = Coverage()
    coverage.passed(frame(0, 0))
    with RollRecorder(path, head("R1")) as recorder:
        full_when(recorder._file, 1)
        for _ in range(60):
            recorder.add([defect(class_name="x" * 3000)], coverage, None)
        full_when(recorder._file, 10**6)
        with pytest.raises(OutputError, match="are lost"):
            recorder.finish(coverage, None, "finished")
    (event,) = rows(path, "SELECT * FROM events WHERE kind = 'record written again'")
    assert f"defects and events lost: {60 - len(rows(path, 'SELECT * FROM defects'))}" in event["detail"]


def test_a_record_locked_by_another_program_waits(path, monkeypatch):
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.0)
    monkeypatch.setattr("edge.roll.database.BUSY_MS", 10)
    told, coverage = [], Coverage()
    coverage.passed(frame(0, 0))
    with RollRecorder(path, head("R1"), announce=lambda d, e: told.extend(d)) as recorder:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            recorder.add([defect()], coverage, None)
            assert told == []
            other.execute("ROLLBACK")
        recorder.add([], coverage, None)
        assert len(told) == 1
        recorder.finish(coverage, None, "finished")


def test_a_record_that_stays_locked_holds_up_inspection_once(path, monkeypatch):
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.0)
    coverage = Coverage()
    coverage.passed(frame(0, 0))

    def waits_ms(recorder):
        return recorder._file.connection.execute("PRAGMA busy_timeout").fetchone()[0]

    with RollRecorder(path, head("R1")) as recorder:
        recorder._file.wait_for_others(10)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            recorder.add([defect()], coverage, None)
            assert waits_ms(recorder) == recorder_module.RETRY_WAIT_MS
            other.execute("ROLLBACK")
        recorder.add([defect()], coverage, None)
        assert waits_ms(recorder) == BUSY_MS
        recorder.finish(coverage, None, "finished")


def test_a_second_writer_is_refused(path):
    with RollRecorder(path, head("R1")):
        with pytest.raises(RecordError, match="Another edge-run"), RollRecorder(path, head("R2")):
            pass
        assert [roll["status"] for roll in rows(path, "SELECT * FROM rolls")] == ["running"]


def test_a_record_that_is_locked_at_the_start(path, monkeypatch):
    monkeypatch.setattr("edge.roll.database.BUSY_MS", 10)
    recorded(path, [0])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RecordError, match="in use by another program"), RollRecorder(path, head()):
            pass


def rubbish(path):
    path.write_bytes(b"<html>404</html>" * 500)


def half(path):
    recorded(path, [0], "old", [defect()] * 1)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def overwritten(path):
    recorded(path, [0], "old", [defect()])
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xa5" * 8192)


@pytest.mark.parametrize("damage", [rubbish, half, overwritten])
def test_a_damaged_record_is_set_aside_and_said(path, damage, caplog):
    path.with_name("rolls.db.1").write_text("of another day")
    damage(path)
    before = path.read_bytes()
    recorded(path, [0], "new")
    assert path.with_name("rolls.db.2").read_bytes() == before
    assert "is damaged: it is now rolls.db.2" in caplog.text
    assert [roll["name"] for roll in rows(path, "SELECT * FROM rolls")] == ["new"]
    (event,) = rows(path, "SELECT * FROM events")
    assert event["kind"] == "record set aside"


def test_a_newer_record_is_refused_and_left_alone(path):
    recorded(path, [0])
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(RecordError, match="newer loomsight"):
        RecordFile(path)
    assert path.read_bytes() == before


def test_the_database_of_another_program_is_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE sheep (name TEXT)")
    with pytest.raises(RecordError, match="another program"):
        RecordFile(path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "r.db", tmp_path):
        with pytest.raises(OutputError):
            RecordFile(path)
    with pytest.raises(RecordError, match="no file"):
        RecordFile(Path("/dev/null"))


@pytest.mark.parametrize("options", ["ro", "size=64k"])
def test_a_disk_that_is_read_only_or_really_full(tmp_path, options):
    """On a file system mounted where only this child process sees it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o {options} none "{disk}" && "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    arguments = ["--camera", "loom:width_px=256,seed=1,length_m=0.2", "--roll-record", f"{disk}/r.db"]
    done = subprocess.run(
        [*mounted, *program("edge-run", *arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == OutputError.exit_code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert line.startswith("error: Cannot write ")
    assert "Traceback" not in done.stderr


FILL_AND_FREE = """
import logging, sys
from pathlib import Path
from edge.cloth.coverage import Coverage
from edge.roll import recorder as module
from tests.unit.edge.roll.test_writing import defect, frame, head
logging.basicConfig(level=logging.INFO)
module.RETRY_S = 0.0
disk, told, coverage, found = Path(sys.argv[1]), [], Coverage(), 0
(disk / "filler").write_bytes(bytes(120_000))
with module.RollRecorder(disk / "r.db", head("R1"), announce=lambda d, e: told.extend(d)) as recorder:
    coverage.passed(frame(0, 0))
    while recorder._blocked_s is None:
        recorder.add([defect(class_name="x" * 3000)], coverage, None)
        found += 1
        assert found < 1000, "the disk never got full"
    assert len(told) < found
    (disk / "filler").unlink()
    recorder.add([], coverage, None)
    recorder.finish(coverage, None, "finished")
from edge.roll.reading import read_roll
roll = read_roll(disk / "r.db", "R1")
assert sorted(row.event_id for row in roll.defects) == sorted(one.event_id for one in told)
assert len(told) == found
print([event.kind for event in roll.events])
"""


def test_nothing_is_lost_on_a_disk_that_was_full_for_a_while(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=420k none "{disk}" && "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(
        [*mounted, sys.executable, "-c", FILL_AND_FREE, disk],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['record not written', 'record written again']\n"
    assert done.stderr.count("Inspection goes on") == 1


def test_two_hundred_kills_lose_nothing_and_double_nothing(tmp_path):
    """The record lies in memory where that can be: a kill is no power cut, and syncing costs the time."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place) as folder:
        path = Path(folder) / "r.db"
        done = subprocess.run(
            [sys.executable, str(HERE / "kill_writer.py"), str(path), "200", "7"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OPENBLAS_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        acknowledged = json.loads(done.stdout)
        assert len(acknowledged) > 1000
        recorded(path, [0], "after")
        query = "SELECT event_id FROM {}"
        kept = [
            row["event_id"] for table in ("defects", "events") for row in rows(path, query.format(table))
        ]
        assert len(kept) == len(set(kept))
        assert set(acknowledged) <= set(kept)
        assert len(acknowledged) == len(set(acknowledged))
        rolls = rows(path, "SELECT * FROM rolls")
        assert [roll["status"] for roll in rolls].count("finished") == 1
        assert {roll["status"] for roll in rolls} == {"finished", "interrupted"}
        for roll in rolls:  # coverage adds up wherever the kill came, and each defect is once in its place
            (gaps,) = rows(path, "SELECT sum(lines) AS n FROM gaps WHERE roll_id = ?", roll["roll_id"])
            assert roll["inspected_lines"] + (gaps["n"] or 0) == roll["passed_lines"]
            places = rows(path, "SELECT start_m FROM defects WHERE roll_id = ?", roll["roll_id"])
            assert (
                sorted(row["start_m"] for row in places) == list(range(len(places)))
                or roll["name"] == "after"
            )


def test_kills_around_changes_of_roll_leave_rolls_that_add_up(tmp_path):
    path = tmp_path / "r.db"
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_writer.py"), str(path), "12", "3", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    recorded(path, [0], "after")
    kept = rows(path, "SELECT event_id FROM events UNION ALL SELECT event_id FROM defects")
    acknowledged = json.loads(done.stdout)
    assert set(acknowledged) <= {row["event_id"] for row in kept}
    assert len(acknowledged) == len(set(acknowledged))
    rolls = {roll["roll_id"]: roll for roll in rows(path, "SELECT * FROM rolls")}
    ended = rows(path, "SELECT * FROM events JOIN event_data USING (event_id) WHERE kind = 'roll ended'")
    assert len(ended) > 3
    for event in ended:  # the one is ended where the other is started, or neither
        assert rolls[event["roll_id"]]["status"] == "finished"
        assert json.loads(event["data"])["next"] in rolls
    statuses = [roll["status"] for roll in rolls.values()]
    assert statuses.count("finished") == len(ended) + 1
    assert statuses.count("interrupted") <= 12
    for roll in rolls.values():
        (gaps,) = rows(path, "SELECT sum(lines) AS n FROM gaps WHERE roll_id = ?", roll["roll_id"])
        assert roll["inspected_lines"] + (gaps["n"] or 0) == roll["passed_lines"]
        assert roll["passed_lines"] == roll["reached_line"]

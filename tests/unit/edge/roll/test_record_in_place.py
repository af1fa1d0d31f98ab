"""A record that is deleted, renamed, replaced or damaged while it is written, or before."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial

import pytest

from edge.app.request_sources import RecordedRequests
from edge.cloth.coverage import Coverage
from edge.core.errors import OutputError, RecordError
from edge.roll.database import SIDE_FILES
from edge.roll.following import last_following
from edge.roll.outbox import Outbox
from edge.roll.recorder import RollRecorder
from edge.roll.values import ROLL_ENDED
from tests.unit.edge.roll.test_writing import defect, frame, head, recorded, rows


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rolls.db"


def deleted(path):
    for side in SIDE_FILES:
        path.with_name(f"{path.name}{side}").unlink(missing_ok=True)


def renamed(path):
    path.rename(path.with_name("elsewhere.db"))


def renamed_whole(path):
    for side in SIDE_FILES:
        path.with_name(f"{path.name}{side}").rename(path.with_name(f"elsewhere.db{side}"))


def deleted_with_its_lock(path):
    deleted(path)
    path.with_name(f"{path.name}.lock").unlink()


def replaced(path):
    path.with_name("other").write_bytes(b"a letter of mine")
    path.with_name("other").replace(path)


def emptied(path):
    path.write_bytes(b"")


class Run:
    """Record a frame and a defect at a time."""

    def __init__(self, recorder):
        self.recorder, self.coverage, self.number = recorder, Coverage(), 0

    def inspect(self):
        self.coverage.passed(frame(self.number, 100 * self.number))
        self.recorder.add([defect(0.1 * self.number)], self.coverage, 1500.0)
        self.number += 1


@pytest.mark.parametrize("happens", [deleted, renamed, renamed_whole, deleted_with_its_lock, replaced])
def test_a_record_that_is_gone_is_said_at_once_and_written_again_with_the_whole_roll(path, happens, caplog):
    told, outbox = [], Outbox(path)
    recorded(path, [0], "before")
    with RollRecorder(
        path, head("R"), announce=lambda d, e: told.extend([*d, *e]), outbox=outbox
    ) as recorder:
        run = Run(recorder)
        run.inspect()
        run.inspect()
        assert recorder.replaced is None
        happens(path)
        run.inspect()
        assert str(path) in recorder.replaced
        assert [row["start_m"] for row in rows(path, "SELECT * FROM defects ORDER BY rowid")] == [
            0,
            0.1,
            0.2,
        ]
        run.inspect()
        with pytest.raises(RecordError, match=r"was .* while it was written") as error:
            recorder.finish(run.coverage, 1500.0, "finished")
    assert error.value.exit_code == 41
    assert "while it was written" in caplog.text
    (roll,) = rows(path, "SELECT * FROM rolls")
    assert (roll["name"], roll["status"], roll["passed_lines"]) == ("R", "finished", 400)
    assert len(rows(path, "SELECT * FROM defects")) == 4
    assert [event["kind"] for event in rows(path, "SELECT * FROM events")] == ["record replaced"]
    queued = rows(path, "SELECT number, origin FROM outbox ORDER BY number")
    # Nothing that waits to be sent is lost, no number comes twice; the roll waits again since its end.
    assert [row["number"] for row in queued] == [2, 3, 4, 5, 6, 7]
    assert [row["origin"] for row in queued] == [*["defect"] * 3, "event", "defect", "roll"]
    assert len({one.event_id for one in told}) == len(told) == 5
    assert rows(path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_a_record_that_was_emptied_is_written_again_from_there_on(path, caplog):
    with RollRecorder(path, head("R")) as recorder:
        run = Run(recorder)
        run.inspect()
        emptied(path)
        run.inspect()
        with pytest.raises(RecordError):
            recorder.finish(run.coverage, 1500.0, "finished")
    assert "while it was written" in caplog.text
    assert rows(path, "SELECT passed_lines FROM rolls") == [{"passed_lines": 200}]
    assert rows(path, "SELECT * FROM defects ORDER BY rowid")[-1]["start_m"] == 0.1


def test_a_record_that_was_renamed_is_whole_where_it_is_now(path):
    with RollRecorder(path, head("R")) as recorder:
        run = Run(recorder)
        run.inspect()
        renamed(path)
        run.inspect()
    moved = path.with_name("elsewhere.db")
    assert [row["start_m"] for row in rows(moved, "SELECT * FROM defects")] == [0]
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "elsewhere.db",
        "rolls.db",
        "rolls.db.lock",
    ]


def test_what_stands_in_the_place_of_the_record_is_kept(path):
    with RollRecorder(path, head("R")) as recorder:
        run = Run(recorder)
        run.inspect()
        replaced(path)
        run.inspect()
    assert path.with_name("rolls.db.1").read_bytes() == b"a letter of mine"


def test_it_is_noticed_while_the_loom_stands(path):
    with RollRecorder(path, head("R")) as recorder:
        Run(recorder).inspect()
        deleted(path)
        RecordedRequests(recorder, None).events()
        assert recorder.replaced is not None
        assert path.exists()


def test_what_stands_there_is_set_aside_once_however_often_a_new_record_cannot_be_made(
    path, monkeypatch, caplog
):
    tries = []

    class Failing(sqlite3.Connection):
        """A real connection; the first three new records cannot be made."""

        def execute(self, statement, *more):
            if statement.startswith("CREATE") and "TRIGGER" not in statement and len(tries) < 3:
                tries.append(statement)
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(statement, *more)

    with RollRecorder(path, head("R")) as recorder:
        run = Run(recorder)
        run.inspect()
        replaced(path)
        monkeypatch.setattr("edge.roll.recorder.RETRY_S", 0.0)
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Failing))
        for _ in range(3):
            run.inspect()
            assert path.read_bytes() == b"a letter of mine"
            assert not path.with_name("rolls.db.1").exists()
        run.inspect()
    assert len(tries) == 3
    assert path.with_name("rolls.db.1").read_bytes() == b"a letter of mine"
    assert not path.with_name("rolls.db.2").exists()
    assert "what stood there is now rolls.db.1." in caplog.text
    assert len(rows(path, "SELECT * FROM defects")) == 5


def test_where_no_new_record_can_be_made_defects_wait(path, monkeypatch):
    monkeypatch.setattr("edge.roll.recorder.RETRY_S", 0.0)
    with RollRecorder(path, head("R")) as recorder:
        run = Run(recorder)
        run.inspect()
        deleted(path)
        path.mkdir()
        run.inspect()
        assert recorder.is_blocked
        path.rmdir()
        run.inspect()
        assert not recorder.is_blocked
        assert len(rows(path, "SELECT * FROM defects")) == 3
        deleted(path)
        path.mkdir()
        with pytest.raises(OutputError, match="0 defects and"):
            recorder.finish(run.coverage, 1500.0, "finished")
        path.rmdir()


def test_a_roll_that_the_disk_has_no_room_for_is_carried_over_once_it_has(path, monkeypatch, caplog):
    left = [2]

    class Full(sqlite3.Connection):
        """A real connection; the disk is full when the first two new records take in the defects."""

        def executemany(self, statement, *more):
            if statement.startswith("INSERT INTO defects") and left[0]:
                left[0] -= 1
                raise sqlite3.OperationalError("database or disk is full")
            return super().executemany(statement, *more)

    monkeypatch.setattr("edge.roll.recorder.RETRY_S", 0.0)
    with RollRecorder(path, head("R")) as recorder:
        run = Run(recorder)
        run.inspect()
        run.inspect()
        replaced(path)
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Full))
        for _ in range(2):
            run.inspect()
            assert recorder.is_blocked
            assert path.read_bytes() == b"a letter of mine"
        run.inspect()
        assert not recorder.is_blocked
        starts = [row["start_m"] for row in rows(path, "SELECT start_m FROM defects ORDER BY rowid")]
        assert starts == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert left == [0]
    assert path.with_name("rolls.db.1").read_bytes() == b"a letter of mine"
    assert not path.with_name("rolls.db.2").exists()
    assert "the roll before that is lost" not in caplog.text
    assert "are lost" not in caplog.text


@pytest.mark.parametrize(
    "data",
    ['{{"next": "{own}"}}', '{{"next": ["{own}"]}}', '["{own}"]', "[" * 100_000, "no json"],
    ids=["circle", "list", "no-object", "nested", "no-json"],
)
def test_an_event_that_names_no_following_roll_leads_nowhere(path, data):
    recorded(path, [0], "R")
    ((own, kind),) = [(row["roll_id"], ROLL_ENDED) for row in rows(path, "SELECT roll_id FROM rolls")]
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO events VALUES ('e', ?, ?, '', 0, '2026')", (own, kind))
        db.execute("INSERT INTO event_data VALUES ('e', ?)", (data.format(own=own),))
        db.commit()
    assert last_following(path, "R") is None


HOSTILE = {
    "settings-no-json": "UPDATE rolls SET settings = '{', status = 'running'",
    "settings-list": "UPDATE rolls SET settings = '[1]', status = 'running'",
    "limits": """UPDATE rolls SET settings = '{"grade_limits": {"a": "x"}}', status = 'running'""",
    "bytes": "UPDATE rolls SET settings = CAST(x'7bff' AS TEXT), camera = CAST(x'ff' AS TEXT)",
    "lines-text": "UPDATE rolls SET reached_line = 'many', status = 'running'",
    "lines-infinite": "UPDATE rolls SET inspected_lines = 9e999, status = 'running'",
    "scale-text": "UPDATE rolls SET mm_per_line = 'x', cloth_width_mm = 'y', status = 'running'",
    "metre-absurd": "UPDATE defects SET end_m = 1e300",
    "metre-text": "UPDATE defects SET start_m = 'here'",
    "metre-blob": "UPDATE defects SET left_mm = x'00', class_name = x'ff'",
    "metre-infinite": "UPDATE defects SET start_m = -9e999, end_m = 9e999",
}


@pytest.mark.parametrize("statement", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["R", None])
def test_a_row_that_is_damaged_ends_no_start_and_the_others_stay(path, statement, name):
    recorded(path, [0], "other", [defect()])
    recorded(path, [0], "R", [defect()])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE rolls SET status = 'running' WHERE name = 'R'")
        db.execute(statement)
        db.commit()
    recorded(path, [0, 100], name, [defect(0.2)])
    assert not path.with_name("rolls.db.1").exists()
    statuses = rows(path, "SELECT status FROM rolls")
    assert {row["status"] for row in statuses} <= {"finished", "interrupted"}
    assert len(rows(path, "SELECT * FROM defects")) == 3


def test_a_record_whose_schema_is_damaged_is_set_aside_once(path):
    recorded(path, [0], "R", [defect()])
    path.write_bytes(path.read_bytes().replace(b" NOT NULL", b" ,\xd4\xd4,NULL", 1))
    for _ in range(2):
        recorded(path, [0], "new", [defect()])
    assert path.with_name("rolls.db.1").exists()
    assert not path.with_name("rolls.db.2").exists()


NONSENSE = {
    "no-json": "not json",
    "list": "[]",
    "number": "7",
    "other-key": '{"name": "x", "evil": 1}',
    "name-number": '{"name": 3, "article": null}',
    "digits": '{"name": ' + "9" * 5000 + "}",
    "nesting": "[" * 100_000,
    "blob": b"\xff\xfe",
    "null-bytes": "\0",
}


@pytest.mark.parametrize("stored", NONSENSE.values(), ids=NONSENSE)
def test_a_row_that_is_no_request_is_dropped_and_inspection_goes_on(path, stored, caplog):
    with RollRecorder(path, head("R")) as recorder:
        run = Run(recorder)
        run.inspect()
        good = json.dumps({"name": "next", "article": None})
        with closing(sqlite3.connect(path)) as db:
            db.execute("INSERT INTO requests VALUES ('a', ?, '2026', NULL)", (stored,))
            db.execute("INSERT INTO requests VALUES (NULL, ?, '2026', NULL)", (good,))
            db.execute("INSERT INTO requests VALUES ('b', ?, '2026', NULL)", (good,))
            db.commit()
        (asked,) = recorder.requests()
        assert (asked.request_id, asked.name) == ("b", "next")
        run.inspect()
        assert [row["request_id"] for row in rows(path, "SELECT * FROM requests")] == ["b"]
    assert "is no request" in caplog.text

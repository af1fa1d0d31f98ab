"""Rolls, gaps and verdicts wait in the outbox, too; what an older program left there stays."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from edge.cloth.coverage import Coverage
from edge.mqtt.messages import MESSAGES
from edge.mqtt.outgoing import message_of
from edge.roll.outbox import OutboxReader
from edge.roll.recorder import RollRecorder
from edge.roll.reviews import Review, record_review
from edge.roll.values import RollHead
from tests.unit.edge.mqtt.test_mqtt import defect, ids_in, recording, waiting


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rolls.db"


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def messages(path, *origins):
    sent = [(topic, json.loads(text)) for topic, text in map(message_of, waiting(path, *origins))]
    for topic, message in sent:
        MESSAGES[topic].model_validate(message)
        assert topic in origins
    return [message for _, message in sent]


def test_a_roll_waits_once_with_what_is_known_of_it_at_the_time(path):
    recorder = recording(path)[1]
    with recorder:
        (started,) = messages(path, "roll")
        assert (started["status"], started["revision"], started["points"]) == ("running", 1, None)
        recorder.add([defect(0.1)], Coverage(), None)
        recorder.finish(Coverage(), None, "finished")
    (ended,) = messages(path, "roll")
    assert (ended["status"], ended["revision"], ended["defects"]) == ("finished", 2, 1)
    assert ended["points"] == 1
    assert ended["id"] == ended["roll_id"] == started["id"]
    with recording(path)[1]:
        pass
    (continued,) = messages(path, "roll")
    assert (continued["status"], continued["revision"]) == ("running", 3)


def test_a_header_is_sent_with_its_roll(path):
    head = RollHead("loom", "0" * 64, {"roll_header": {"customer": "X & Sons"}}, "R1")
    outbox = recording(path)[0]
    with RollRecorder(path, head, outbox=outbox):
        (roll,) = messages(path, "roll")
    assert roll["header"] == {"customer": "X & Sons"}


def test_a_gap_is_told_once_it_is_passed_and_again_when_it_changes(path):
    outbox, recorder = recording(path)
    with recorder:
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        outbox.collect_from(db)

        def gap(start, lines):
            db.execute("DELETE FROM gaps WHERE event_id = 'g1'")
            db.execute(
                "INSERT INTO gaps SELECT 'g1', roll_id, ?, ?, ?, ?, 'dropped', "
                "'2026-01-07T09:12:44.310+00:00' FROM rolls",
                (start, lines, start / 1000, (start + lines) / 1000),
            )

        def reached(line):
            db.execute("UPDATE rolls SET reached_line = ?", (line,))
            return [(one["revision"], one["lines"], one["end_m"]) for one in messages(path, "gap")]

        gap(100, 50)
        assert reached(150) == []  # it may still grow
        gap(100, 80)
        assert reached(400) == [(1, 80, 0.18)]
        gap(100, 80)
        assert reached(410) == [(1, 80, 0.18)]  # nothing new
        gap(100, 60)
        assert reached(420) == [(2, 60, 0.16)]
        db.execute("DELETE FROM gaps")
        assert [lines for _, lines, _ in reached(430)] == [0]
        gap(420, 30)
        db.execute("UPDATE rolls SET status = 'finished'")
        assert [one["lines"] for one in messages(path, "gap")] == [30]  # at the end all are told


def test_verdicts_wait_from_the_page_too_and_the_last_one_holds(path):
    recorder = recording(path)[1]
    with recorder:
        recorder.add([defect(0.1)], Coverage(), None)
        (defect_id,) = ids_in(path)[:1]
        assert record_review(path, defect_id, Review("confirmed", "drop"))
        assert record_review(path, defect_id, Review("undone"))
    record_review(path, defect_id, Review("rejected"))  # while no run writes the record
    sent = messages(path, "verdict")
    assert [(one["verdict"], one["class_name"], one["revision"]) for one in sent] == [
        ("confirmed", "drop", 1), ("undone", None, 2), ("rejected", None, 3),
    ]  # fmt: skip
    assert {one["defect_id"] for one in sent} == {defect_id}
    with closing(sqlite3.connect(path)) as db:
        assert {one["defect_utc"] for one in sent} == {db.execute("SELECT utc FROM defects").fetchone()[0]}


def test_verdicts_on_a_record_without_a_broker_wait_for_nobody(path):
    recorder = recording(path)[1]
    with recorder:
        recorder.add([defect(0.1)], Coverage(), None)
    changed(path, "DELETE FROM outbox")
    with RollRecorder(path, RollHead("loom", "0" * 64, {}, "R1")):
        record_review(path, ids_in(path)[0], Review("confirmed"))
    assert waiting(path, "verdict", "roll", "gap") == []


def test_an_outbox_of_an_older_program_keeps_its_rows_and_numbers(path):
    recorder = recording(path)[1]
    with recorder:
        recorder.add([defect(0.1), defect(0.2)], Coverage(), None)
    changed(
        path,
        "DELETE FROM outbox WHERE origin = 'roll'",
        "CREATE TABLE old (number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, "
        "origin TEXT NOT NULL CHECK (origin IN ('defect', 'event')))",
        "INSERT INTO old SELECT * FROM outbox WHERE number < 3",
        "DROP TABLE outbox",
        "ALTER TABLE old RENAME TO outbox",
        "UPDATE sqlite_sequence SET seq = 77 WHERE name = 'outbox'",
        *(f"DROP TABLE {name}" for name in ("outbox_sent", "outbox_open", "roll_revisions", "open_gaps")),
    )
    with recording(path)[1]:
        pass
    numbers = {row.origin: row.number for row in waiting(path, "defect", "roll")}
    assert numbers["defect"] == 2
    assert numbers["roll"] > 77
    assert messages(path, "roll")[0]["revision"] >= 1


def test_what_the_office_has_not_stored_is_sent_again_and_nothing_else(path):
    recorder = recording(path)[1]
    with recorder:
        recorder.add([defect(n) for n in range(4)], Coverage(), None)
    rows = waiting(path, "defect")
    with closing(OutboxReader(path)) as reader:
        reader.sent([row.number for row in rows[:3]], awaits_receipt=True)
        assert reader.awaiting_receipts() == 3
        names = [(row.number, row.event_id) for row in rows]
        assert reader.stored([(names[0][0], "another id"), (10**9, "of another record")]) == 0
        assert reader.stored([names[2], names[0]]) == 1  # the one in between is lost
        assert reader.awaiting_receipts() == 0
        again = reader.after(0, 100)
        assert names[1][1] in {row.event_id for row in again}
        assert names[0][1] not in {row.event_id for row in again}
        assert reader.stored([names[3]]) == 0  # a receipt may be here before the broker's own answer
        assert names[3][1] not in {row.event_id for row in reader.after(0, 100)}
        reader.sent([row.number for row in reader.after(0, 100)], awaits_receipt=True)
        waits = reader.awaiting_receipts()
        assert reader.probe() == 1
        assert reader.awaiting_receipts() == waits - 1
        assert reader.forget_receipts(1) == waits - 2

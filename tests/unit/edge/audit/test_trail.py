"""Entries of a run: taken at once, written beside inspection, kept while the disk is full."""

from __future__ import annotations

import time

from edge.audit.entry import ENTRIES_LOST
from edge.audit.log import AuditLog
from edge.audit.reading import entries_of
from edge.audit.trail import AuditTrail
from edge.audit.verify import verify_log
from edge.audit.who import command_line, unix_user, user_named
from edge.core.errors import OutputError
from tests.patience import wait_for

PATIENCE_S = 60


class FullDisk(AuditLog):
    """A log that cannot be written until there is room."""

    is_full = True

    def append(self, notes):
        if self.is_full:
            raise OutputError("Cannot write the audit log: No space left on device.", "Free space.")
        return super().append(notes)


def test_entries_are_written_in_their_order(tmp_path):
    path = tmp_path / "audit.jsonl"
    with AuditTrail(AuditLog(path)) as trail:
        for number in range(50):
            trail.note("settings", "tick", {"number": number})
        assert trail.settle(PATIENCE_S)
        assert trail.head == verify_log(path).head
        trail.note("settings", "last")
    entries = [entry for entry in entries_of(path) if entry.kind == "tick"]
    assert [entry.data["number"] for entry in entries] == list(range(50))
    assert list(entries_of(path))[-1].kind == "last"
    assert verify_log(path).problems == []


def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_room(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("edge.audit.trail.RETRY_S", 0.01)
    path = tmp_path / "audit.jsonl"
    log = FullDisk(path)
    with AuditTrail(log) as trail:
        trail.note("user anna", "verdict", {"number": 1})
        assert wait_for(lambda: trail.problem is not None)
        assert not trail.settle(0.0)
        trail.note("user anna", "verdict", {"number": 2})
        assert "No space left on device" in trail.problem
        log.is_full = False
        assert wait_for(lambda: trail.problem is None)
    assert [e.data["number"] for e in entries_of(path) if e.kind == "verdict"] == [1, 2]
    assert len([r for r in caplog.records if "Inspection goes on" in r.getMessage()]) == 1


def test_what_has_no_room_in_memory_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.audit.trail.RETRY_S", 0.01)
    monkeypatch.setattr("edge.audit.trail.MOST_WAITING", 3)
    path = tmp_path / "audit.jsonl"
    log = FullDisk(path)
    with AuditTrail(log) as trail:
        for number in range(10):
            trail.note("settings", "tick", {"number": number})
        log.is_full = False
        assert trail.settle(PATIENCE_S) or trail.problem
        assert wait_for(
            lambda: trail.problem is None and any(e.kind == ENTRIES_LOST for e in entries_of(path))
        )
    lost = next(entry for entry in entries_of(path) if entry.kind == ENTRIES_LOST)
    assert lost.data == {"entries": 7}


def test_the_end_of_a_run_does_not_wait_for_a_full_disk(tmp_path, caplog):
    began_s = time.monotonic()
    with AuditTrail(FullDisk(tmp_path / "audit.jsonl")) as trail:
        trail.note("settings", "tick")
    assert time.monotonic() - began_s < PATIENCE_S
    assert "1 entry of the audit log" in caplog.text


def test_whatever_is_noted_can_be_written(tmp_path):
    path = tmp_path / "audit.jsonl"
    with AuditTrail(AuditLog(path)) as trail:
        trail.note("user \udcff", "odd", {"path": tmp_path, "nan": float("nan"), "text": "\udcff"})
        trail.note("user b", "tuple", {"pair": (1, 2)})
    assert [entry.kind for entry in entries_of(path)] == ["log started", "odd", "tuple"]
    assert verify_log(path).problems == []


def test_who_is_named():
    assert (user_named("anna"), user_named(None)) == ("user anna", "common token")
    assert command_line().startswith("command line: unix user ")
    assert unix_user({"SUDO_USER": "anna"}).endswith("(sudo by anna)")
    assert "sudo" not in unix_user({"SUDO_USER": "a\nb"})

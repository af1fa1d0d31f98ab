"""Which events of a run become entries of the audit log, and who they are of."""

from __future__ import annotations

import pytest

from edge.audit.log import AuditLog
from edge.audit.reading import entries_of
from edge.audit.trail import AuditTrail
from edge.core.events import RecordedEvent
from edge.decisions.stops import DELIVERED, STOP, WOULD_BE_STOP
from edge.pipeline.audited import RunAudit
from edge.pipeline.changes import RollPlan, RollRequest
from edge.roll.values import RollHead
from edge.teach.values import LEARNT

PATIENCE_S = 60


@pytest.fixture
def audit(tmp_path):
    with AuditTrail(AuditLog(tmp_path / "log")) as trail:
        yield RunAudit(trail, "left")


def noted(audit):
    assert audit.trail.settle(PATIENCE_S)
    return [entry for entry in entries_of(audit.trail.log.path) if entry.number > 1]


def test_stops_and_articles_are_noted_under_the_id_of_the_record_and_nothing_else(audit):
    kinds = (STOP, WOULD_BE_STOP, DELIVERED, LEARNT, "camera silent", "machine lost")
    events = [RecordedEvent(kind, "why", 1.23456) for kind in kinds]
    audit.take(events, "A17")
    entries = noted(audit)
    assert [entry.kind for entry in entries] == [STOP, WOULD_BE_STOP, DELIVERED, LEARNT]
    assert [entry.data["id"] for entry in entries] == [event.event_id for event in events[:4]]
    assert {entry.who for entry in entries} == {"settings"}
    assert entries[0].data["camera"] == "left"
    assert (entries[0].data["roll"], entries[0].data["camera_m"]) == ("A17", 1.235)


def test_what_a_person_asks_for_over_opc_ua_names_them(audit):
    """Whatever its kind: an event of the record that says who is one of a person."""
    audit.take([RecordedEvent("machine stop asked for", "by OPC UA", data={"who": "anna"})], "A17")
    (entry,) = noted(audit)
    assert (entry.who, entry.kind) == ("user anna", "machine stop asked for")


@pytest.mark.parametrize(
    ("request_", "who"),
    [
        (RollRequest("operator", who="user anna"), "user anna"),
        (RollRequest("command", who="command line: unix user root"), "command line: unix user root"),
        (RollRequest("command"), "command"),
        (RollRequest("joint"), "settings"),
        (RollRequest("signal"), "settings"),
    ],
)
def test_a_change_of_roll_says_who_asked_for_it(audit, request_, who):
    head = RollHead("loom", "0" * 64, {}, "B 18", "twill")
    audit.roll_changed(request_, RollPlan(head, article_changes=True), "B 18")
    (entry,) = noted(audit)
    assert (entry.who, entry.kind) == (who, "roll changed")
    assert (entry.data["article"], entry.data["article_changes"]) == ("twill", True)


def test_teaching_and_marks_name_the_user(audit):
    audit.teaching("carl", "begin", "twill")
    audit.teaching(None, "cancel", None)
    audit.mark("bert", "twill", 3, is_defect=True)
    audit.mark("bert", "twill", 3, is_defect=False)
    assert [(entry.who, entry.kind) for entry in noted(audit)] == [
        ("user carl", "teaching requested"),
        ("common token", "teaching requested"),
        ("user bert", "place struck out"),
        ("user bert", "place taken back"),
    ]

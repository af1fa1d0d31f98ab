"""Messages become rows: once each, in any order, and what cannot be stored is kept and named."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edge.fleet import incoming
from edge.fleet.database import connected
from edge.fleet.incoming import Arrival, Refused, read_message
from edge.fleet.partitions import Partitions
from edge.fleet.reread import reread
from edge.fleet.writing import store
from edge.mqtt import messages
from tests.unit.edge.fleet.samples import NOON, arrival, payload, status
from tests.unit.edge.fleet.servers import TABLES, empty_tables

ALL = ("defect", "event", "stop", "gap", "verdict", "roll")


@pytest.fixture
def database(settings):
    with connected(settings.database) as connection:
        yield connection


def put(database, *arrivals, partitions=None):
    return store(database, arrivals, "loomsight", partitions or Partitions())


def rows(database, query, *values):
    return database.execute(query, values).fetchall()


def count(database, table):
    return rows(database, f"SELECT count(*) FROM {table}")[0][0]


def test_each_kind_of_message_is_stored_once(database):
    batch = [arrival(topic, n) for n, topic in enumerate(ALL)]
    done = put(database, *batch)
    assert sum(done.given.values()) == len(ALL)
    assert (count(database, "defects"), count(database, "events"), count(database, "gaps")) == (1, 2, 1)
    assert (count(database, "verdicts"), count(database, "last_verdicts"), count(database, "rolls")) == (
        1,
        1,
        1,
    )
    again = put(database, *batch)
    assert sum(again.rows.values()) == 0
    assert rows(database, "SELECT loom, article, kind FROM defects") == [("loom-7", "twill", "broken pick")]
    assert rows(database, "SELECT data FROM events WHERE kind = 'stop'") == [({"defects": ["defect-1"]},)]
    assert rows(database, "SELECT dimension, name, defects FROM daily_defects ORDER BY 1") == [
        ("article", "twill", 1), ("kind", "broken: broken pick", 1), ("loom", "loom-7", 1),
        ("shift", "early", 1),
    ]  # fmt: skip


def test_a_device_with_several_cameras_has_a_loom_for_each(database):
    put(database, arrival("defect", 1, loom="loom-7/left"), arrival("defect", 2, loom="loom-7/right"))
    assert rows(database, "SELECT loom FROM looms ORDER BY loom") == [("loom-7/left",), ("loom-7/right",)]


def test_of_rolls_gaps_and_verdicts_the_latest_holds_in_whatever_order_they_come(database):
    put(database, arrival("roll", 5), arrival("verdict", 3, verdict="undone"))
    put(database, arrival("roll", 2), arrival("verdict", 1), arrival("gap", 1, revision=2, lines=0))
    put(database, arrival("gap", 1))
    assert rows(database, "SELECT revision, defects FROM rolls") == [(6, 5)]
    assert rows(database, "SELECT verdict FROM last_verdicts") == [("undone",)]
    assert count(database, "verdicts") == 2
    assert rows(database, "SELECT lines FROM gaps") == [(0,)]
    assert rows(database, "SELECT gaps, lost_m FROM daily_gaps") == [(0, 0.0)]


def contents(database):
    """Return all tables without the times of arrival."""
    found = {}
    for table in TABLES:
        columns = [
            name for (name,) in rows(database, "SELECT column_name::text FROM information_schema.columns "
            "WHERE table_name = %s AND column_name <> 'received_utc' ORDER BY 1", table)
        ]  # fmt: skip
        found[table] = sorted(map(repr, rows(database, f"SELECT {', '.join(columns)} FROM {table}")))
    return found


SENT = [
    *(arrival(topic, n) for topic in ALL for n in range(3)),
    arrival("gap", 1, revision=2, lines=0),
    arrival("gap", 2, revision=3, lines=7, end_m=4.0),
    arrival("defect", 9, received=NOON, utc="2024-12-31T23:59:59.999+00:00"),
    Arrival("loomsight/loom-7/defect", b"nonsense", NOON),
    Arrival("loomsight/loom-7/defect", json.dumps(payload("defect", 4, points=10**12)).encode(), NOON),
]


@hypothesis_settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_order_any_duplicates_any_restarts_give_the_same_tables(database, data):
    empty_tables(database)
    put(database, *SENT)
    expected = contents(database)
    empty_tables(database)
    delivered = data.draw(st.permutations(SENT)) + data.draw(st.lists(st.sampled_from(SENT), max_size=10))
    partitions = Partitions()
    while delivered:
        size = data.draw(st.integers(1, len(delivered)))
        batch, rest = delivered[:size], delivered[size:]
        put(database, *batch, partitions=partitions)
        if data.draw(st.booleans()):  # killed after the commit: the broker delivers the batch again
            partitions = Partitions()
            rest = [*batch, *rest] if data.draw(st.booleans()) and len(rest) < 60 else rest
        delivered = rest
    assert contents(database) == expected


BAD = {
    "no JSON": b"{",
    "no object": b"[1]",
    "no text": b"\xff\xfe",
    "empty": b"",
    "a zero character": json.dumps(payload("defect", 1, roll="a\0b")).encode(),
    "half a surrogate": json.dumps(payload("defect", 1)).replace("A17", "\\ud800").encode(),
    "no id": json.dumps({**payload("defect", 1), "id": None}).encode(),
    "a time without a zone": json.dumps(payload("defect", 1, utc="2026-01-07T09:12:44")).encode(),
    "no time": json.dumps(payload("defect", 1, utc="yesterday")).encode(),
    "a score beyond 1": json.dumps(payload("defect", 1, score=7)).encode(),
    "a number beyond the database": json.dumps(payload("defect", 1, points=10**12)).encode(),
    "an endless name": json.dumps(payload("defect", 1, id="x" * 5000)).encode(),
    "no version": json.dumps(payload("defect", 1, version="one")).encode(),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_is_no_message_is_kept_with_its_reason_and_holds_up_no_other(bad, database):
    wrong = Arrival("loomsight/loom-7/defect", bad, NOON)
    done = put(database, arrival("defect", 5), wrong, arrival("defect", 6))
    assert len(done.refused) == 1
    assert count(database, "defects") == 2
    put(database, wrong)
    ((reason, text),) = rows(database, "SELECT reason, decode(payload, 'base64') FROM refused")
    assert reason
    assert bytes(text) == bad


@pytest.mark.parametrize(
    "topic", ["loomsight/defect", "loomsight/a/b/c/defect", "loomsight/a/x", "other/a/defect"]
)
def test_other_topics_are_refused(topic):
    refused = read_message(Arrival(topic, json.dumps(payload("defect", 1)).encode(), NOON), "loomsight")
    assert isinstance(refused, Refused)


def test_messages_of_a_check_are_skipped(database):
    check = arrival("event", 1, kind="check")
    done = put(database, check, Arrival("loomsight/loom-7/roll", check.payload, NOON), status("check"))
    assert (done.checks, done.refused) == (3, ())
    assert count(database, "looms") == 0


def test_an_older_program_sends_less_and_a_newer_one_more_and_both_are_understood(database):
    old = {
        name: value
        for name, value in payload("defect", 1).items()
        if name not in ("kind", "shape", "version")
    }
    new = {**payload("defect", 2), "colour": "red"}
    for fields in (old, new):
        put(database, Arrival("loomsight/loom-7/defect", json.dumps(fields).encode(), NOON))
    assert rows(database, "SELECT event_id, kind FROM defects ORDER BY 1") == [
        ("defect-1", None), ("defect-2", "broken pick"),
    ]  # fmt: skip


def test_a_newer_version_waits_for_the_update_and_is_read_then(database, settings, monkeypatch):
    done = put(database, arrival("defect", 1, version=2), arrival("defect", 2))
    assert "version 2" in done.refused[0].reason
    assert reread(settings) == (0, 1)
    monkeypatch.setattr(incoming, "VERSION", 2)
    monkeypatch.setitem(incoming.UPGRADES, 1, lambda topic, fields: fields)
    real = incoming._checked
    monkeypatch.setattr(incoming, "_checked", lambda topic, fields: real(topic, {**fields, "version": 1}))
    assert reread(settings) == (1, 0)
    assert count(database, "defects") == 2
    assert messages.VERSION == 1


def test_a_wrong_clock_keeps_both_times_and_its_day_is_there(database):
    now = datetime.now(timezone.utc)
    times = {
        "ahead": now + timedelta(days=365), "behind": now - timedelta(days=365),
        "epoch": datetime(1970, 1, 1), "far": datetime(9999, 12, 31),
    }  # fmt: skip
    for n, (loom, utc) in enumerate(times.items()):
        text = utc.replace(tzinfo=timezone.utc).isoformat()
        put(database, arrival("defect", n, loom=loom, received=now, utc=text))
    places = dict(rows(database, "SELECT loom, tableoid::regclass::text FROM defects"))
    assert places["ahead"] == f"defects_{now + timedelta(days=365):%Y%m%d}"
    assert places["behind"] == f"defects_{now - timedelta(days=365):%Y%m%d}"
    assert places["epoch"] == places["far"] == "defects_elsewhen"
    lags = dict(rows(database, "SELECT loom, last_lag_s FROM looms"))
    assert lags["ahead"] < -86_400
    assert lags["behind"] > 86_400
    received = rows(database, "SELECT DISTINCT received_utc FROM defects")
    assert received == [(now,)]


def test_a_day_that_gets_its_partition_late_takes_its_rows_along(database):
    from edge.fleet.partitions import make_partition
    from edge.fleet.tables import DEFECTS

    put(database, arrival("defect", 1, utc="2010-05-05T12:00:00+00:00"))
    make_partition(database, DEFECTS, datetime(2010, 5, 5).date())
    make_partition(database, DEFECTS, datetime(2010, 5, 5).date())
    assert rows(database, "SELECT tableoid::regclass::text FROM defects") == [("defects_20100505",)]
    put(database, arrival("defect", 1, utc="2010-05-05T12:00:00+00:00"))
    assert count(database, "defects") == 1


def test_the_state_is_that_of_the_last_status_and_two_devices_of_one_name_are_flagged(database):
    def loom():
        return rows(database, "SELECT state, installation, name_conflict_utc IS NOT NULL FROM looms")

    put(database, status(), status("lost"))
    assert loom() == [("lost", "a", False)]
    put(database, status(installation="b"))  # exchanged
    assert loom() == [("running", "b", False)]
    put(database, status(installation="a"))  # it is still there
    assert loom() == [("running", "a", True)]
    put(database, status("lost", installation=None))
    assert loom() == [("lost", "a", True)]


def test_a_database_that_goes_away_loses_the_batch_for_nobody(settings):
    connection = connected(settings.database)
    connection.close()
    with pytest.raises(psycopg.Error):
        put(connection, arrival("defect", 1))

"""Migrations go up and down with data; retention deletes whole rolls; every question has an answer."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.core.errors import DatabaseError
from edge.fleet.dashboards import DASHBOARDS, provisioning
from edge.fleet.database import connected
from edge.fleet.migrate import check_version, head, migrate, versions
from edge.fleet.queries import answer, queries
from edge.fleet.retention import retain
from edge.fleet.settings import OfficeSettings
from tests.unit.edge.fleet.samples import NOON, arrival, status
from tests.unit.edge.fleet.test_storing import ALL, count, put, rows

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@pytest.fixture
def database(settings):
    with connected(settings.database) as connection:
        yield connection


def on_roll(roll_id, day, number, **changes):
    """Return a defect of a roll at noon of a day of February, received then."""
    utc = datetime(2026, 2, day, 12, 0, number, tzinfo=timezone.utc)
    return arrival("defect", number, id=f"{roll_id}-{day}-{number}", utc=utc.isoformat(), roll_id=roll_id,
                   received=utc, **changes)  # fmt: skip


def roll(roll_id, day, ended_day):
    start, end = (datetime(2026, 2, one, 11, tzinfo=timezone.utc).isoformat() for one in (day, ended_day))
    return arrival("roll", 1, id=roll_id, roll_id=roll_id, utc=end, started_utc=start, ended_utc=end,
                   status="finished", received=datetime.fromisoformat(end))  # fmt: skip


def days_of(database, roll_id):
    query = "SELECT extract(day FROM utc)::int FROM defects WHERE roll_id = %s ORDER BY utc"
    return [day for (day,) in rows(database, query, roll_id)]


def test_a_roll_is_deleted_as_a_whole_or_not_at_all(database):
    put(database, roll("old", 1, 1), roll("chained", 2, 3), roll("spanning", 3, 20), roll("young", 20, 20))
    put(
        database, on_roll("old", 1, 1), on_roll("chained", 2, 1), on_roll("chained", 3, 2),
        on_roll("spanning", 3, 3), on_roll("spanning", 20, 4), on_roll("young", 20, 5),
    )  # fmt: skip
    put(database, arrival("verdict", 1, roll_id="old", received=NOON, utc=NOON.isoformat()))
    done = retain(database, 20, NOW)
    assert days_of(database, "old") == days_of(database, "chained") == []
    assert days_of(database, "spanning") == [3, 20]
    assert days_of(database, "young") == [20]
    assert rows(database, "SELECT roll_id FROM rolls ORDER BY 1") == [("spanning",), ("young",)]
    assert count(database, "verdicts") == count(database, "last_verdicts") == 0
    assert done.rolls == 2
    assert retain(database, 20, NOW).rolls == 0
    retain(database, 1, NOW + timedelta(days=60))
    assert count(database, "defects") == count(database, "rolls") == 0


def test_what_a_wrong_clock_dates_back_is_kept_as_long_as_anything_that_arrived_then(database):
    lately = NOW - timedelta(days=1)
    put(database, arrival("defect", 1, utc="2025-03-01T12:00:00+00:00", received=lately, roll_id=None))
    put(database, arrival("defect", 2, utc="1970-01-01T12:00:00+00:00", received=lately, roll_id=None))
    retain(database, 20, NOW)
    assert count(database, "defects") == 2
    retain(database, 20, NOW + timedelta(days=40))
    assert count(database, "defects") == 0


def test_a_day_comes_back_after_it_was_deleted(database):
    put(database, on_roll("old", 1, 1))
    retain(database, 20, NOW)
    put(database, on_roll("old", 1, 1))
    assert days_of(database, "old") == [1]


def test_migrations_go_up_and_down_with_data(empty):
    assert versions() == ["0001", "0002", "0003"]
    assert migrate(empty, "0001") == ("nothing", "0001")
    with connected(empty.database) as database:
        with pytest.raises(DatabaseError, match="office migrate"):
            check_version(database)
        put(database, *(arrival(topic, n) for n, topic in enumerate(ALL)))
    assert migrate(empty) == ("0001", head())
    with connected(empty.database) as database:
        check_version(database)
        put(database, arrival("defect", 50), arrival("gap", 3, id="gap-3", revision=2, end_m=3.0))
        counted = rows(database, "SELECT sum(defects) FROM daily_defects WHERE dimension = 'loom'")
        assert counted == [(2,)]
        assert rows(database, "SELECT gaps, lost_m FROM daily_gaps") == [(1, 2.0)]
    assert migrate(empty, "0001") == (head(), "0001")
    assert migrate(empty) == ("0001", head())
    assert migrate(empty) == (head(), head())
    with connected(empty.database) as database:
        assert count(database, "defects") == 2
        assert rows(database, "SELECT sum(defects) FROM daily_defects WHERE dimension = 'kind'") == [(2,)]
    assert migrate(empty, "base") == (head(), "nothing")
    with connected(empty.database) as database:
        assert rows(database, "SELECT to_regclass('defects')") == [(None,)]


def test_shifts_and_days_are_those_of_the_plant(empty):
    plant = {"time_zone": "Asia/Kolkata", "shifts": {"A": "06:00", "B": "18:00"}}
    migrate(OfficeSettings.model_validate({**empty.model_dump(), **plant}))
    with connected(empty.database) as database:
        for n, utc in enumerate(("00:00", "01:00", "12:29", "12:31", "23:00")):  # 5.5 hours ahead
            put(database, arrival("defect", n, utc=f"2026-01-07T{utc}:00+00:00"))
        shifts = rows(database, "SELECT name, sum(defects) FROM daily_defects WHERE dimension = 'shift' "
                      "GROUP BY 1 ORDER BY 1")  # fmt: skip
        assert shifts == [("A", 2), ("B", 3)]
        days = rows(
            database, "SELECT day::text, defects FROM daily_defects WHERE dimension = 'loom' ORDER BY 1"
        )
        assert days == [("2026-01-07", 4), ("2026-01-08", 1)]


def test_every_question_is_answered_and_prunes_days(database):
    put(database, *(arrival(topic, n) for n, topic in enumerate(ALL)), status())
    put(database, *(on_roll("r", day, 1) for day in range(1, 8)))
    found = {
        name: answer(database, query, NOON - timedelta(days=1), NOON + timedelta(days=1))
        for name, query in queries().items()
    }
    assert {name for name, (_, got) in found.items() if not got} == {"refused"}
    assert found["pareto-kind"][1][0][:2] == ("broken: broken pick", 1)
    assert found["false-alarms"][1] == [("broken", "", 1, 1, 0, 100)]
    plan = answer(
        database, queries()["defects"], NOON - timedelta(hours=1), NOON + timedelta(hours=1), "EXPLAIN "
    )
    text = "\n".join(line for (line,) in plan[1])
    assert "defects_20260107" in text
    assert "defects_20260201" not in text


def test_dashboards_are_those_that_ship_and_ask_every_question():
    asked = {question for _, questions in DASHBOARDS.values() for question in questions}
    assert asked == set(queries())
    folder = Path(__file__).parents[4] / "edge" / "fleet" / "grafana"
    files = provisioning()
    shipped = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.*")}
    assert shipped == files, "write them again: loomsight office grafana edge/fleet/grafana"
    for name, text in files.items():
        if name.endswith(".json"):
            assert ":from_utc" not in text
            assert len({panel["id"] for panel in json.loads(text)["panels"]}) == len(
                json.loads(text)["panels"]
            )

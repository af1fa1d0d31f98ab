"""Delete what is older than the policy: whole days where that is possible, and never half a roll."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Final

import psycopg
from psycopg import sql

from edge.fleet.database import Connection, connected, unreachable
from edge.fleet.migrate import check_version
from edge.fleet.settings import OfficeSettings
from edge.fleet.tables import PARTITIONED

logger = logging.getLogger(__name__)

LOCK_TIMEOUT: Final = "5s"
DAY_AT_END: Final = re.compile(r"_(\d{8})$")


@dataclass(frozen=True, slots=True)
class Deleted:
    """Count what retention has deleted."""

    partitions: int = 0
    rows: int = 0
    rolls: int = 0

    def __str__(self) -> str:
        return f"{self.partitions} partitions, {self.rows} single rows and {self.rolls} rolls deleted"


def retain(connection: Connection, days: int, now: datetime | None = None) -> Deleted:
    """Delete what happened and arrived more than so many days ago, all in one transaction.

    A roll that has anything younger is kept as a whole, with the days that it lies in. Of
    the other rolls of those days, the ones that also lie in a day that goes are deleted row by row.

    Args:
        connection: in autocommit mode.
        days: that are kept.
        now: for tests.
    Raises:
        psycopg.Error: if that does not work now; then nothing is deleted.
    """
    cutoff = ((now or datetime.now(timezone.utc)) - timedelta(days=days)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
        old = _partitions_before(connection, cutoff.date())
        _find_kept_rolls(connection, old, cutoff)
        going = [name for name in old if not _holds_young(connection, name, cutoff)]
        connection.execute("CREATE TEMP TABLE going_rolls (roll_id text PRIMARY KEY) ON COMMIT DROP")
        for name in going:
            _add_rolls_of(connection, name, "going_rolls")
        for name in going:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        rows = sum(_delete_rest(connection, table.name, cutoff) for table in PARTITIONED)
        rolls = _delete_rolls(connection, cutoff)
    return Deleted(len(going), rows, rolls)


def _partitions_before(connection: Connection, day: date) -> list[str]:
    """Return the partitions of days before one, the oldest first."""
    names = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = ANY (%s::regclass[])",
        ([table.name for table in PARTITIONED],),
    )
    found = [(match[1], name) for (name,) in names if (match := DAY_AT_END.search(name))]
    return [name for text, name in sorted(found) if text < f"{day:%Y%m%d}"]


def _find_kept_rolls(connection: Connection, old: list[str], cutoff: datetime) -> None:
    """Collect, of the rolls in old partitions, those that have anything that is younger."""
    connection.execute("CREATE TEMP TABLE old_rolls (roll_id text PRIMARY KEY) ON COMMIT DROP")
    connection.execute("CREATE TEMP TABLE kept_rolls (roll_id text PRIMARY KEY) ON COMMIT DROP")
    for name in [*old, *(f"{table.name}_elsewhen" for table in PARTITIONED)]:
        _add_rolls_of(connection, name, "old_rolls")
    for table in PARTITIONED:
        connection.execute(
            "INSERT INTO kept_rolls SELECT roll_id FROM old_rolls o "
            f"WHERE EXISTS (SELECT 1 FROM {table.name} t WHERE t.roll_id = o.roll_id "
            "AND (t.utc >= %(cutoff)s OR t.received_utc >= %(cutoff)s)) "
            "ON CONFLICT DO NOTHING",
            {"cutoff": cutoff},
        )
    connection.execute(
        "INSERT INTO kept_rolls SELECT roll_id FROM old_rolls JOIN rolls USING (roll_id) "
        "WHERE greatest(utc, ended_utc, started_utc, received_utc) >= %s ON CONFLICT DO NOTHING",
        (cutoff,),
    )


def _add_rolls_of(connection: Connection, partition: str, to: str) -> None:
    connection.execute(
        sql.SQL(
            "INSERT INTO {} SELECT DISTINCT roll_id FROM {} WHERE roll_id IS NOT NULL "
            "ON CONFLICT DO NOTHING"
        ).format(sql.Identifier(to), sql.Identifier(partition))
    )


def _holds_young(connection: Connection, name: str, cutoff: datetime) -> bool:
    """Tell whether a partition has a row that arrived lately, or one of a roll that is kept."""
    query = sql.SQL(
        "SELECT EXISTS (SELECT 1 FROM {} WHERE received_utc >= %s) "
        "OR EXISTS (SELECT 1 FROM {} JOIN kept_rolls USING (roll_id))"
    ).format(sql.Identifier(name), sql.Identifier(name))
    row = connection.execute(query, (cutoff,)).fetchone()
    return bool(row and row[0])


def _delete_rest(connection: Connection, table: str, cutoff: datetime) -> int:
    """Delete the rows of rolls that went with a day, and what is old among the days without a partition."""
    of_going = connection.execute(f"DELETE FROM {table} WHERE roll_id IN (SELECT roll_id FROM going_rolls)")
    elsewhen = connection.execute(
        f"DELETE FROM {table}_elsewhen WHERE utc < %(cutoff)s AND received_utc < %(cutoff)s "
        "AND (roll_id IS NULL OR roll_id NOT IN (SELECT roll_id FROM kept_rolls))",
        {"cutoff": cutoff},
    )
    return of_going.rowcount + elsewhen.rowcount


def _delete_rolls(connection: Connection, cutoff: datetime) -> int:
    """Delete the rolls of which nothing is left, with their verdicts."""
    gone = (
        "roll_id NOT IN (SELECT roll_id FROM kept_rolls) AND utc < %(cutoff)s "
        "AND received_utc < %(cutoff)s "
        + "".join(
            f"AND NOT EXISTS (SELECT 1 FROM {table.name} t WHERE t.roll_id = {{name}}.roll_id) "
            for table in PARTITIONED
        )
    )
    values = {"cutoff": cutoff}
    for name in ("verdicts", "last_verdicts"):
        connection.execute(
            f"DELETE FROM {name} WHERE {gone.format(name=name)} AND defect_utc < %(cutoff)s", values
        )
    return connection.execute(f"DELETE FROM rolls WHERE {gone.format(name='rolls')}", values).rowcount


def retain_now(settings: OfficeSettings) -> str:
    """Apply the policy of the settings now; says what was deleted.

    Raises:
        DatabaseError: if the database cannot be used, or has another schema.
    """
    if settings.retention_days is None:
        return "retention_days is not set: everything is kept"
    with connected(settings.database) as connection:
        check_version(connection)
        try:
            return str(retain(connection, settings.retention_days))
        except psycopg.Error as error:
            raise unreachable(settings.database, error) from error

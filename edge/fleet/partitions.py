"""Make the partitions that days of events lie in: ahead of time, and for any day that turns up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from typing import Final

from psycopg import sql

from edge.fleet.database import Connection
from edge.fleet.tables import PARTITIONED, Table

FIRST_DAY: Final = date(2020, 1, 1)
MOST_DAYS_AHEAD: Final = 400
"""Days before the first, or so far ahead, come from clocks that are wrong: they lie in one partition
together, so that such a clock makes no partition for each of them. A clock that is wrong by a year has its
own, as that day was or will be one."""

DAYS_MADE_AHEAD: Final = 3
LOCK: Final = 0x4C6F6F6E


def day_of(moment: datetime) -> date:
    """Return the day of UTC in which an event lies."""
    return moment.astimezone(timezone.utc).date()


def has_own(day: date, today: date) -> bool:
    """Tell whether a day gets a partition of its own."""
    return FIRST_DAY <= day <= today + timedelta(days=MOST_DAYS_AHEAD)


def partition_name(table: Table, day: date) -> str:
    """Return the name of the partition of a day."""
    return f"{table.name}_{day:%Y%m%d}"


class Partitions:
    """Know which partitions are there, and make those that are not.

    Args:
        today: returns the day of UTC.
    """

    def __init__(self) -> None:
        self._known: set[date] = set()
        self._ahead_of: date | None = None

    def ensure(self, connection: Connection, days: Iterable[date]) -> None:
        """Have partitions for days, and for the next ones; outside of a transaction.

        Raises:
            psycopg.Error: if that does not work now.
        """
        today = datetime.now(timezone.utc).date()
        wanted = {day for day in days if has_own(day, today)}
        if self._ahead_of != today:
            wanted |= {today + timedelta(days=n) for n in range(DAYS_MADE_AHEAD + 1)}
            self._known.clear()  # retention may have removed some meanwhile
        for day in sorted(wanted - self._known):
            for table in PARTITIONED:
                make_partition(connection, table, day)
            self._known.add(day)
        self._ahead_of = today

    def forget(self) -> None:
        """Look again: another database, or another program, may have other partitions."""
        self._known.clear()
        self._ahead_of = None


def make_partition(connection: Connection, table: Table, day: date) -> None:
    """Make the partition of a day, with the rows of that day that lie among the others, if any do."""
    name, parent = sql.Identifier(partition_name(table, day)), sql.Identifier(table.name)
    if connection.execute("SELECT to_regclass(%s)", (partition_name(table, day),)).fetchone() != (None,):
        return
    start, end = (f"{day + timedelta(days=n)} 00:00:00+00" for n in (0, 1))
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        if connection.execute("SELECT to_regclass(%s)", (partition_name(table, day),)).fetchone() != (
            None,
        ):
            return
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(name, parent))
        connection.execute(
            sql.SQL(
                "WITH moved AS (DELETE FROM {} WHERE utc >= {} AND utc < {} RETURNING *) "
                "INSERT INTO {} SELECT * FROM moved"
            ).format(sql.Identifier(f"{table.name}_elsewhen"), start, end, name)
        )
        connection.execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                parent, name, start, end
            )
        )

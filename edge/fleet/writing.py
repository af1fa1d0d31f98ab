"""Store a batch of messages in one transaction: each once, in whatever order and how often they come."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import psycopg

from edge.fleet.database import Connection, why
from edge.fleet.incoming import Arrival, Incoming, Refused, read_message
from edge.fleet.looms import write_looms
from edge.fleet.partitions import Partitions, day_of
from edge.fleet.tables import PARTITIONED, REFUSED, TABLES_OF, Table, refused_row, row_of


@dataclass(frozen=True, slots=True)
class Stored:
    """Count what a batch was.

    Attributes:
        rows: new or newer ones, by table.
        given: messages, by the last part of the topic.
        refused: messages that are kept and not understood.
        checks: messages of `loomsight mqtt check`.
        lags_s: from the time of a message to its arrival.
    """

    rows: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    refused: tuple[Refused, ...] = ()
    checks: int = 0
    lags_s: tuple[float, ...] = ()


def store(
    connection: Connection, arrivals: Sequence[Arrival], prefix: str, partitions: Partitions
) -> Stored:
    """Store messages, all or none of them; a message that the database refuses is kept as refused.

    Args:
        connection: in autocommit mode.
        arrivals: in the order in which they came.
        prefix: of all topics.
        partitions: that are there.
    Raises:
        psycopg.Error: if the database cannot be used now.
    """
    read = [read_message(arrival, prefix) for arrival in arrivals]
    sound = [one for one in read if isinstance(one, Incoming)]
    refused = [one for one in read if isinstance(one, Refused)]
    rows: Counter[str] = Counter()
    late_refusals = _store_sound(connection, sound, partitions, rows)
    refused += late_refusals
    if refused:
        rows[REFUSED.name] += _insert(connection, REFUSED, map(refused_row, refused))
    given = Counter(one.topic for one in sound)
    lags_s = (
        (one.received_utc - one.fields["utc"]).total_seconds() for one in sound if "utc" in one.fields
    )
    return Stored(rows, given, tuple(refused), read.count(None), tuple(lags_s))


def _store_sound(
    connection: Connection, messages: list[Incoming], partitions: Partitions, rows: Counter[str]
) -> list[Refused]:
    """Store what passed the checks; halve what the database refuses until the message is found.

    Returns:
        What it refuses.
    """
    if not messages:
        return []
    by_day = {table.name for table in PARTITIONED}
    days = {
        day_of(one.fields["utc"])
        for one in messages
        if any(table.name in by_day for table in TABLES_OF.get(one.topic, ()))
    }
    try:
        partitions.ensure(connection, days)
        with connection.transaction():
            done = _write(connection, messages)
        rows.update(done)
        return []
    except (psycopg.DataError, psycopg.IntegrityError) as error:  # any other is not the message's fault
        if len(messages) == 1:
            return [_refused(messages[0], error)]
    middle = len(messages) // 2
    first = _store_sound(connection, messages[:middle], partitions, rows)
    return first + _store_sound(connection, messages[middle:], partitions, rows)


def _write(connection: Connection, messages: list[Incoming]) -> Counter[str]:
    rows_of: dict[Table, list[dict[str, object]]] = {}
    for message in messages:
        row = None
        for table in TABLES_OF.get(message.topic, ()):
            row = row or row_of(message)
            rows_of.setdefault(table, []).append(row)
    done: Counter[str] = Counter()
    for table in sorted(rows_of, key=lambda table: table.name):
        done[table.name] += _insert(connection, table, rows_of[table])
    write_looms(connection, messages)
    return done


def _insert(connection: Connection, table: Table, rows: Iterable[dict[str, object]]) -> int:
    """Insert rows; returns how many of them are new, or newer than what was there."""
    each = [{name: row[name] for name in table.columns} for row in table.one_each(rows)]
    return connection.execute(table.insert, (json.dumps(each),)).rowcount


def _refused(message: Incoming, error: psycopg.Error) -> Refused:
    arrival = message.arrival
    reason = f"the database refuses it: {why(error)}"
    return Refused(
        arrival.topic, arrival.payload, arrival.received_utc, reason, message.fields.get("version")
    )

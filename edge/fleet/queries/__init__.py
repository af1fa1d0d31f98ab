"""Answer the questions of the dashboards: one SQL file each, for Grafana and `loomsight office show`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from edge.fleet.database import Connection

FOLDER: Final = Path(__file__).parent
TITLE: Final = re.compile(r"^-- title: (.+)\n-- (.+)\n")
TIME: Final = re.compile(r":(from_utc|to_utc)\b")


@dataclass(frozen=True, slots=True)
class Query:
    """Hold a question: name, title, a line of what it answers, the SQL with `:from_utc` and `:to_utc`."""

    name: str
    title: str
    answers: str
    text: str

    def spelt(self, from_utc: str, to_utc: str) -> str:
        """Return the SQL with expressions in the place of both times."""
        times = {"from_utc": from_utc, "to_utc": to_utc}
        return TIME.sub(lambda match: times[match[1]], self.text)


def queries() -> dict[str, Query]:
    """Return all questions by name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.sql"))}


def answer(
    connection: Connection, query: Query, from_utc: datetime, to_utc: datetime, before: str = ""
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Ask the database; the times stand in the statement itself, so that PostgreSQL leaves out partitions.

    Args:
        connection: to the office's database.
        query: the question.
        from_utc, to_utc: the time that it is about.
        before: put before the statement, for instance `EXPLAIN `.
    Returns:
        The names of the columns, and the rows.
    Raises:
        psycopg.Error: if the database cannot answer.
    """
    start, end = (f"timestamptz '{moment.isoformat()}'" for moment in (from_utc, to_utc))
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute((before + query.spelt(start, end)).encode())
        return [column.name for column in cursor.description or ()], cursor.fetchall()


def _read(path: Path) -> Query:
    text = path.read_text(encoding="utf-8")
    head = TITLE.match(text)
    if head is None:
        raise ValueError(f"{path} has no title")
    return Query(path.stem, head[1], head[2], text)

"""Map messages to rows: which table, which columns, and what a second message of one id does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from edge.fleet.incoming import Incoming, Refused

OF_ROLL: Final = {"loom": "text", "roll_id": "text", "roll": "text", "article": "text"}
AT: Final = {"event_id": "text", "utc": "timestamptz"}
RECEIVED: Final = {"received_utc": "timestamptz"}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Describe a table that messages are stored in.

    Attributes:
        columns: name -> type in PostgreSQL.
        key: columns that tell rows apart.
        latest_by: the row with the highest one holds; None where the first one does.
        partitioned: by the day of `utc`.
    """

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    latest_by: str | None = None
    partitioned: bool = False

    @property
    def insert(self) -> str:
        """The statement that stores rows given as JSON, each once in whatever order they come."""
        names = ", ".join(self.columns)
        given = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return (
            f"INSERT INTO {self.name} ({names}) SELECT {names} FROM jsonb_to_recordset(%s::jsonb) "
            f"AS given ({given}) ORDER BY {', '.join(self.key)} "
            f"ON CONFLICT ({', '.join(self.key)}) {self._on_conflict}"
        )

    @property
    def _on_conflict(self) -> str:
        if self.latest_by is None:
            return "DO NOTHING"
        changed = [name for name in self.columns if name not in self.key]
        values = ", ".join(f"{name} = excluded.{name}" for name in changed)
        return f"DO UPDATE SET {values} WHERE excluded.{self.latest_by} > {self.name}.{self.latest_by}"

    def one_each(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows without those that another one of the same key stands for."""
        kept: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            key = tuple(row[name] for name in self.key)
            before = kept.get(key)
            if before is None or (self.latest_by and row[self.latest_by] > before[self.latest_by]):
                kept[key] = row
        return list(kept.values())


DEFECTS: Final = Table(
    "defects",
    {
        **AT, **OF_ROLL, "class_name": "text", "kind": "text", "shape": "text", "score": "real",
        "start_m": "double precision", "end_m": "double precision", "left_mm": "double precision",
        "right_mm": "double precision", "points": "integer", **RECEIVED,
    },
    ("event_id", "utc"),
    partitioned=True,
)  # fmt: skip
EVENTS: Final = Table(
    "events",
    {
        **AT, **OF_ROLL, "kind": "text", "detail": "text", "at_m": "double precision", "data": "jsonb",
        **RECEIVED,
    },
    ("event_id", "utc"),
    partitioned=True,
)  # fmt: skip
GAPS: Final = Table(
    "gaps",
    {
        **AT, **OF_ROLL, "revision": "bigint", "lines": "bigint", "start_m": "double precision",
        "end_m": "double precision", "reason": "text", **RECEIVED,
    },
    ("event_id", "utc"),
    "revision",
    partitioned=True,
)  # fmt: skip
ROLLS: Final = Table(
    "rolls",
    {
        **OF_ROLL, "utc": "timestamptz", "revision": "bigint", "status": "text",
        "started_utc": "timestamptz", "ended_utc": "timestamptz", "camera": "text",
        "model_digest": "text", "loomsight": "text",
        "length_m": "double precision", "passed_m": "double precision", "inspected_m": "double precision",
        "cloth_width_mm": "double precision", "defects": "bigint", "points": "bigint",
        "points_per_100_m2": "double precision", "grade": "text", "header": "jsonb", **RECEIVED,
    },
    ("roll_id",),
    "revision",
)  # fmt: skip
OF_VERDICT: Final = {
    "defect_id": "text", "review_id": "text", "utc": "timestamptz", **OF_ROLL, "revision": "bigint",
    "defect_utc": "timestamptz", "verdict": "text", "class_name": "text", "detected_class_name": "text",
    "kind": "text", **RECEIVED,
}  # fmt: skip
VERDICTS: Final = Table("verdicts", OF_VERDICT, ("review_id",))
LAST_VERDICTS: Final = Table("last_verdicts", OF_VERDICT, ("defect_id",), "revision")
REFUSED: Final = Table(
    "refused",
    {
        "digest": "text",
        "topic": "text",
        "payload": "text",
        "reason": "text",
        "version": "bigint",
        **RECEIVED,
    },
    ("digest",),
)
"""The payload in base64: it may be no text."""

TABLES_OF: Final[Mapping[str, tuple[Table, ...]]] = {
    "defect": (DEFECTS,),
    "event": (EVENTS,),
    "stop": (EVENTS,),
    "gap": (GAPS,),
    "roll": (ROLLS,),
    "verdict": (VERDICTS, LAST_VERDICTS),
}
"""Last part of the topic -> where it is stored; the status is elsewhere."""

TABLES: Final = (DEFECTS, EVENTS, GAPS, ROLLS, VERDICTS, LAST_VERDICTS, REFUSED)
PARTITIONED: Final = tuple(table for table in TABLES if table.partitioned)


def row_of(message: Incoming) -> dict[str, Any]:
    """Return the columns of a message, under the names of all its tables; values fit into JSON."""
    fields = {**message.fields, "loom": message.loom, "received_utc": message.received_utc}
    identity = fields.pop("id")
    fields["review_id" if message.topic == "verdict" else "event_id"] = identity
    return {name: _plain(value) for name, value in fields.items()}


def refused_row(message: Refused) -> dict[str, Any]:
    """Return the row of a message that cannot be stored; one that comes twice has one row."""
    from base64 import b64encode
    from hashlib import sha256

    topic = message.topic.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return {
        "digest": sha256(message.topic.encode() + b"\0" + message.payload).hexdigest(),
        "topic": topic,
        "payload": b64encode(message.payload).decode("ascii"),
        "reason": message.reason.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "version": message.version if message.version and abs(message.version) < 2**62 else None,
        "received_utc": _plain(message.received_utc),
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value

"""Define events of a roll, its camera or its record, and the protocol of those that report them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol


def new_id() -> str:
    """Return an id that no other event of any record has."""
    return uuid.uuid4().hex


def utc_now() -> str:
    """Return the time as records carry it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """Something that happened to a roll, its camera or its record.

    Attributes:
        kind: what, for instance `camera silent`.
        detail: for a person to read.
        at_m: where on the roll; None if that is not known.
        data: the same for a program to read, plain values; None if there is no more to say.
    """

    kind: str
    detail: str
    at_m: float | None = None
    event_id: str = field(default_factory=new_id)
    utc: str = field(default_factory=utc_now)
    data: dict[str, Any] | None = None


class Reporter(Protocol):
    """Something beside inspection that has events for the record: the machine, the broker."""

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call; places are in metres of the camera."""
        ...

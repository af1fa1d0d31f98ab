"""Bring recorded times, which are UTC, to the clock on the wall."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone, tzinfo

NAMES_OF_NO_OFFSET = ("UTC", "GMT", "WET")


def local_from_utc(utc: str | None, zone: tzinfo | None = None) -> datetime | None:
    """Return a recorded time in local time; None if there is none, or it is damaged.

    Args:
        utc: as `utc_now` gives it.
        zone: None for that of this device.
    """
    try:
        moment = datetime.fromisoformat(utc or "")
        return local(moment.replace(tzinfo=moment.tzinfo or timezone.utc), zone)
    except (ValueError, OverflowError, OSError):
        return None


def local(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """Return a moment in local time; as it is where TZ of this device is no zone that a clock can have."""
    try:
        return moment.astimezone(zone)
    except ValueError:
        return moment


def shown_time(moment: datetime | None) -> str:
    """Return a time to the second with its zone, for a person to read; empty where it is not known."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} {_zone(moment)}"


def shown_span(start: datetime | None, end: datetime | None) -> str:
    """Return from when to when, without repeating the day; empty where the start is not known."""
    if start is None or end is None:
        return shown_time(start)
    if _day(start) == _day(end):
        return f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} {_zone(end)}"
    return f"{shown_time(start)} to {shown_time(end)}"


def shown_clocks(moments: Sequence[datetime | None]) -> tuple[str, list[str]]:
    """Return what is common to times, their day and zone, and the rest of each; empty where they differ."""
    days = {_day(moment) for moment in moments if moment is not None}
    if len(days) != 1:
        return "", [shown_time(moment) for moment in moments]
    return " ".join(days.pop()), ["" if moment is None else f"{moment:%H:%M:%S}" for moment in moments]


def _day(moment: datetime) -> tuple[str, str]:
    return f"{moment:%Y-%m-%d}", _zone(moment)


def _zone(moment: datetime) -> str:
    """Return what people call the zone, or its offset where it has no name.

    A name of TZ that no zone has is kept by the C library, which then reckons in UTC.
    """
    name, offset = moment.strftime("%Z"), moment.strftime("%z")
    if not moment.utcoffset() and name not in NAMES_OF_NO_OFFSET:
        return "UTC"
    return name if name.isalpha() else f"UTC{offset[:3]}:{offset[3:5]}"

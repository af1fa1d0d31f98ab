"""Bring recorded times, which are UTC, to the clock on the wall."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo


def local_from_utc(utc: str | None, zone: tzinfo | None = None) -> datetime | None:
    """Return a recorded time in local time; None if there is none, or it is damaged.

    Args:
        utc: as `utc_now` gives it.
        zone: None for that of this device.
    """
    try:
        moment = datetime.fromisoformat(utc or "")
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return None


def shown_time(moment: datetime | None) -> str:
    """Return a time to the second with its zone, for a person to read; empty where it is not known."""
    if moment is None:
        return ""
    offset = moment.strftime("%z")
    name = moment.strftime("%Z")
    zone = name if name.isalpha() else f"UTC{offset[:3]}:{offset[3:5]}"
    return f"{moment:%Y-%m-%d %H:%M:%S} {zone}"

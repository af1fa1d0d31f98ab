"""Build the stop decisions of a run from its settings."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from edge.config.edge import EdgeConfig
from edge.config.machine import MachineSettings
from edge.config.stop import StopSettings
from edge.core.errors import ConfigError, RecordError
from edge.decisions.policy import HOUR_S
from edge.decisions.stops import STOP, WOULD_BE_STOP, Stops
from edge.machine.choose import choose_line
from edge.machine.delivery import StopDelivery
from edge.machine.shared import Delivery
from edge.roll.database import open_for_reading


def delivery_to(machine: MachineSettings, released: Callable[[str], None] = lambda _: None) -> Delivery:
    """Return what delivers stops to a machine of one camera; see `choose_line` for what it raises."""
    return StopDelivery(choose_line(machine), machine, released)


def choose_stops(
    config: EdgeConfig,
    class_names: Sequence[str],
    deliver: Callable[[MachineSettings], Delivery] = delivery_to,
) -> Stops | None:
    """Return what decides about stops; None if the mode is `off`.

    Args:
        config: of the camera.
        class_names: of the model.
        deliver: gives what delivers stops to a machine.

    Raises:
        ConfigError: if a rule is for no class of the model, or `on` lacks a machine, rules or a record.
        ImportError: if the package that reaches the machine is not installed.
    """
    settings = config.stop
    if settings.mode == "off":
        return None
    check_rules(settings, class_names)
    earlier_s = _earlier_stops_s(config.roll_record, STOP if settings.mode == "on" else WOULD_BE_STOP)
    if settings.mode == "shadow":
        return Stops(settings, class_names, earlier_stops_s=earlier_s)
    if config.roll_record is None:
        raise ConfigError("A stop must be in a record, and there is none.", "Add --roll-record.")
    return Stops(settings, class_names, deliver(config.machine), earlier_s)


def check_rules(settings: StopSettings, class_names: Sequence[str]) -> None:
    """See that a policy fits a model.

    Raises:
        ConfigError: if a rule is for no class of it, or `on` has none.
    """
    unknown = sorted(set(settings.classes) - set(class_names))
    if unknown:
        raise ConfigError(
            f"[stop.classes.{unknown[0]}] is for no class of the model.",
            f"It has: {', '.join(class_names)}.",
        )
    if settings.mode == "on" and not settings.classes:
        raise ConfigError(
            "Nothing says which classes may stop the machine.",
            f"Add a table [stop.classes.NAME] for each; the model has: {', '.join(class_names)}.",
        )


def _earlier_stops_s(record: Path | None, kind: str) -> list[float]:
    """Return the monotonic times of the stops that a record holds of the last hour, in order.

    So a run that is started again and again does not stop the machine more often than one that goes on.
    """
    if record is None or not record.is_file():
        return []
    try:
        with closing(open_for_reading(record)) as db:
            rows = db.execute("SELECT utc FROM events WHERE kind = ?", (kind,)).fetchall()
    except (RecordError, sqlite3.Error):  # said when it is opened for writing
        return []
    now, now_s = datetime.now(timezone.utc), time.monotonic()
    ages_s = [(now - datetime.fromisoformat(row["utc"])).total_seconds() for row in rows]
    return sorted(now_s - age_s for age_s in ages_s if 0 <= age_s < HOUR_S)

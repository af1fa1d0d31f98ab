"""What decides about stops in a run, by its settings."""

from __future__ import annotations

from collections.abc import Sequence

from edge.config import EdgeConfig
from edge.decisions.stops import Stops
from edge.errors import ConfigError
from edge.machine.choose import choose_line
from edge.machine.delivery import StopDelivery


def choose_stops(config: EdgeConfig, class_names: Sequence[str]) -> Stops | None:
    """Return what decides about stops; None if the mode is `off`.

    Raises:
        ConfigError: if a rule is for no class of the model, or `on` lacks a machine, rules or a record.
        ImportError: if the package that reaches the machine is not installed.
    """
    settings = config.stop
    if settings.mode == "off":
        return None
    unknown = sorted(set(settings.classes) - set(class_names))
    if unknown:
        raise ConfigError(
            f"[stop.classes.{unknown[0]}] is for no class of the model.",
            f"It has: {', '.join(class_names)}.",
        )
    if settings.mode == "shadow":
        return Stops(settings, class_names)
    if not settings.classes:
        raise ConfigError(
            "Nothing says which classes may stop the machine.",
            f"Add a table [stop.classes.NAME] for each; the model has: {', '.join(class_names)}.",
        )
    if config.roll_record is None:
        raise ConfigError("A stop must be in a record, and there is none.", "Add --roll-record.")
    return Stops(settings, class_names, StopDelivery(choose_line(config.machine), config.machine))

"""Build the sender of events of a run from its settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.audit.entry import Head
from edge.config.edge import EdgeConfig
from edge.config.mqtt import password_of
from edge.core.errors import ConfigError
from edge.roll.outbox import Outbox

if TYPE_CHECKING:
    from edge.mqtt.publisher import Publisher


def choose_publisher(
    config: EdgeConfig, camera: str, audit_head: Callable[[], Head | None] | None = None
) -> Publisher | None:
    """Return what sends events; None if no broker is named.

    Args:
        config: of the camera.
        camera: its name.
        audit_head: gives the newest entry of the audit log; None without one.
    Raises:
        ConfigError: if there is no record to send from, or the password or a certificate cannot be read.
        ImportError: if paho-mqtt is not installed.
    """
    settings = config.mqtt
    if settings.broker is None:
        return None
    if config.roll_record is None:
        raise ConfigError(
            "Events for the broker wait in a record, and there is none.", "Add --roll-record."
        )
    from edge.mqtt.publisher import Publisher

    outbox = Outbox(config.roll_record, settings.most_waiting)
    return Publisher(outbox, settings, password_of(settings, os.environ), camera, audit_head)

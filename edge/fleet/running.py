"""Run the office until a signal ends it."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import Final

from edge.fleet.ingest import Office
from edge.fleet.probes import serve_probes
from edge.fleet.settings import OfficeSettings
from edge.mqtt.tls import tls_context
from edge.process.interruption import stopped_by_signals

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5


def run_office(settings: OfficeSettings, password: str | None) -> None:
    """Store what devices report, until a signal asks for the end; what is not stored stays with the broker.

    Args:
        settings: with a broker.
        password: for the broker; None for none.
    Raises:
        ConfigError: if a file of certificates cannot be used.
        OutputError: if the port of health is taken.
    """
    tls_context(settings.mqtt)  # a certificate that cannot be read ends the start, not a thread
    stop = threading.Event()
    with stopped_by_signals(stop), ExitStack() as stack:
        office = stack.enter_context(Office(settings, password))
        if settings.health_port is not None:
            serve_probes(office, settings.health_host, settings.health_port, stack)
        while not stop.wait(LOOK_S):
            pass
        logger.info("ends: what is not stored stays with the broker")

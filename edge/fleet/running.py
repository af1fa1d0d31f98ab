"""Run the office until a signal ends it."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import Final

from edge.fleet.ingest import Office
from edge.fleet.judging import judge_until
from edge.fleet.probes import serve_probes
from edge.fleet.releases import Releases
from edge.fleet.settings import OfficeSettings
from edge.mqtt.tls import tls_context
from edge.process.interruption import stopped_by_signals
from edge.process.supervised import HelperThread

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5


def judge_beside(settings: OfficeSettings, stack: ExitStack) -> None:
    """Judge candidates in a thread until a stack closes.

    Raises:
        ConfigError: if there is a folder of releases and no key.
    """
    Releases(settings.releases)
    end = threading.Event()
    thread = HelperThread("releases", lambda: judge_until(settings, end), end)
    thread.start()
    stack.callback(thread.join, settings.database.timeout_s)
    stack.callback(end.set)


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
        if settings.releases.folder is not None:
            judge_beside(settings, stack)
        while not stop.wait(LOOK_S):
            pass
        logger.info("ends: what is not stored stays with the broker")

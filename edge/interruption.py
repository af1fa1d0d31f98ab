"""Stop at a place from which work is whole, when someone presses Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set an event, so that work ends after the piece in hand.

    A second Ctrl-C ends the program at once. Outside the main thread, where Python allows no handlers, the
    event is simply never set.
    """

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own_process:  # a worker process inherits this handler, and hears Ctrl-C, too
            logger.info("stopping on %s", signal.Signals(number).name)
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own_process = os.getpid()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

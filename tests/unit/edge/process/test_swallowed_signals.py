"""A signal that something swallowed while a command started ends it all the same."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

import pytest

from edge.process.interruption import Interrupted, raised_by_signals, stopped_by_signals


def run(started):
    with raised_by_signals():
        with suppress(KeyboardInterrupt):  # as C code does that looks for an optional module
            signal.raise_signal(signal.SIGTERM)
        with stopped_by_signals(threading.Event()):
            started.append(True)


def test_nothing_begins_after_a_signal_that_something_swallowed():
    started = []
    with pytest.raises(Interrupted) as ending:
        run(started)
    assert (ending.value.number, started) == (signal.SIGTERM, [])
    with stopped_by_signals(threading.Event()):
        pass  # the next command is another one


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_handlers_are_put_in_place_asks_to_stop(number, monkeypatch):
    real, stop = signal.signal, threading.Event()

    def with_a_signal_at_once(which, handler):
        before = real(which, handler)
        if which == number and callable(handler) and not stop.is_set():
            signal.raise_signal(number)
        return before

    monkeypatch.setattr(signal, "signal", with_a_signal_at_once)
    with stopped_by_signals(stop):
        assert stop.is_set()

"""Clocks for a process that is to have a bad day: code that runs before edge-run does."""

from __future__ import annotations

FASTER = """
import signal, time
_real, _mark, _base, _rate = time.monotonic, time.monotonic(), time.monotonic(), 1.0
def _now():
    return _base + (_real() - _mark) * _rate
def _change(number, frame):
    global _mark, _base, _rate
    _base, _mark = _now(), _real()
    _rate = RATE if number == signal.SIGUSR1 else 1.0
time.monotonic = _now
signal.signal(signal.SIGUSR1, _change)
signal.signal(signal.SIGUSR2, _change)
"""
"""After SIGUSR1 an hour passes in the 30 seconds that RATE makes of it; SIGUSR2 ends that."""

JUMPING = """
import datetime as _module, signal, time
_days = [0]
class _Jumping(_module.datetime):
    @classmethod
    def now(cls, tz=None):
        return _Real.now(tz) + _module.timedelta(days=_days[0])
_Real, _time = _module.datetime, time.time
_module.datetime = _Jumping
time.time = lambda: _time() + _days[0] * 86400
signal.signal(signal.SIGUSR1, lambda *_: _days.__setitem__(0, 365))
signal.signal(signal.SIGUSR2, lambda *_: _days.__setitem__(0, -365))
"""
"""SIGUSR1 puts the wall clock forward by a year, SIGUSR2 back to a year ago."""


def faster(rate: float) -> str:
    """Return the code of a monotonic clock that runs so much faster on demand."""
    return FASTER.replace("RATE", repr(rate))

"""Keep a library from changing the stack that the signal handlers of a thread run on.

OpenVINO's CPU plugin sets one when a network is compiled, and sets back the one before when the network
is closed (2026.4). Of two networks that are closed in the order in which they were opened, the second sets
back a stack that the first has given back to the system, and the next Ctrl-C ends the process by SIGSEGV.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """A `stack_t` of Linux."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Set back the stack for signals that this thread has now, at the end.

    What set another one meanwhile finds that it is not in use any more, and sets back none.
    """
    libc = ctypes.CDLL(None)
    before = _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)

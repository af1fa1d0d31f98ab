"""End at a safe point on Ctrl-C, SIGTERM, a closing terminal, and Ctrl-\\."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

logger = logging.getLogger(__name__)

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that ask a program to end."""

OF_A_TERMINAL: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Those that a terminal sends, to all processes of a command."""

SEND_AGAIN_S: Final = 0.01
"""What is raised in a callback goes nowhere; so much later the callback is over."""

_swallowed: list[int] = []
"""Signals that were raised and have not ended the command yet. C code that looks for an optional module may
clear whatever came of that, a KeyboardInterrupt, too."""

Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupted(BaseException):
    """A signal ended the work before its end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What shells make of a program that a signal ended."""
        return 128 + self.number


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let a signal that asks to end set an event, so that work ends after the current piece.

    A second Ctrl-C ends the program at once; a terminal that closes may say so twice. Outside the main
    thread, where Python allows no handlers, the event is simply never set.

    Raises:
        KeyboardInterrupt: if a signal came before and was swallowed: nothing begins that was asked to end.
    """

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own_process:  # a worker process inherits this handler, and hears Ctrl-C, too
            logger.info("stopping on %s", signal.Signals(number).name)
        stop.set()
        signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else before[signal.Signals(number)])

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _swallowed:
        raise KeyboardInterrupt
    own_process = os.getpid()
    before: dict[signal.Signals, Handler] = {}
    try:
        _handle_by(ask_to_stop, before, not_ignored=True)
        yield
    finally:
        _restore(before)


@contextmanager
def raised_by_signals() -> Iterator[None]:
    """Let a signal that asks to end raise: what is half done is cleared away on the way up.

    Raises:
        Interrupted: in place of whatever came of it, an end without an error excepted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own_process, caught = os.getpid(), 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal caught
        if os.getpid() != own_process:  # a worker process that was forked: it ends as if it had no handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        caught = caught or number
        _swallowed.append(number)
        _restore(before)
        if before.get(signal.SIGHUP) is not None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes may say so twice
        raise KeyboardInterrupt

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        """Send again what came while a callback ran: Python would print it and go on."""
        if caught and unraisable.exc_type is KeyboardInterrupt:
            if signal.getsignal(caught) is before.get(signal.Signals(caught)):
                signal.signal(caught, interrupt)
            threading.Timer(SEND_AGAIN_S, os.kill, (own_process, caught)).start()
        else:
            hook_before(unraisable)

    before: dict[signal.Signals, Handler] = {}
    hook_before = sys.unraisablehook
    try:
        sys.unraisablehook = again
        _handle_by(interrupt, before)
        yield
    except BaseException as error:
        if caught and not (isinstance(error, SystemExit) and not error.code):
            raise Interrupted(caught) from error
        raise
    finally:
        _swallowed.clear()
        sys.unraisablehook = hook_before
        _restore(before)


def leave_to_parent() -> None:
    """Ignore, in a process that works for another, what a terminal sends to both: the other one ends it."""
    for number in OF_A_TERMINAL:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def left_to_parent() -> Iterator[None]:
    """Start processes that ignore, from their first moment on, what a terminal sends to all of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Handler] = {number: signal.getsignal(number) for number in OF_A_TERMINAL}
    leave_to_parent()
    try:
        yield
    finally:
        _restore(before)


def _handle_by(
    handler: Callable[[int, FrameType | None], None],
    before: dict[signal.Signals, Handler],
    *,
    not_ignored: bool = False,
) -> None:
    """Handle the signals that ask to end, but for those that are ignored: `nohup` means that.

    Args:
        handler: of them. It may run before this returns.
        before: gets what handled each of them before, ahead of the change.
        not_ignored: take Ctrl-C all the same: a shell lets what it starts in the background ignore it.
    """
    for number in ENDING:
        is_taken = not_ignored and number == signal.SIGINT
        if is_taken or signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.getsignal(number)
            signal.signal(number, handler)


def _restore(before: dict[signal.Signals, Handler]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)

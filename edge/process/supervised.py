"""Run a helper thread that outlives its errors: each is logged, becomes an event, and shows in health.

To adopt it, put `HelperThread` where `threading.Thread` stood, and hand it the event that ends the thread:

    self._end = threading.Event()
    self._thread = HelperThread("mqtt", self._send_all, self._end)  # daemon; logs about this camera
    self._thread.start()
    ...
    self._end.set()
    self._thread.join(timeout_s)

`work` returns once the event is set, or when nothing is left to do. Whatever else it raises is unforeseen:
it is noted, and `work` is called again after a pause. So `work` opens at its beginning what it needs,
closes it in a `finally`, and keeps on `self` what must not be lost. What can be foreseen (a machine that is
away) is caught inside of it, as before: this is the last resort.

Whoever runs a camera collects the news of its threads: `with watched_by(health.helpers): ...` around
the place that starts them. Nothing else has to be handed through.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Final

from edge.core.events import RecordedEvent
from edge.process.last_resort import wants_traceback

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""Pauses before work is started again double from the first to the longest, and start again after a while
without an error."""

STEADY_S: Final = 30.0
"""A thread that has worked for so long without an error is well again."""

TOLD_EVERY_S: Final = 60.0
"""Errors of a thread that follow each other sooner are counted; only the first is logged, and an event."""

TRIES_AT_END: Final = 2
"""Errors that a thread may meet after its end was asked for: what is left to do is tried once more."""

HELPER_FAILED: Final = "helper thread failed"
"""Event of an unforeseen error: the thread goes on."""

HELPER_DEAD: Final = "helper thread dead"
"""Event of a thread that ended and should not have."""


class Helpers:
    """Collect what happens to the helper threads of a run. A `Reporter`; asked by any thread.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._threads: list[HelperThread] = []
        self._failures: Counter[str] = Counter()
        self._last: dict[str, tuple[str, float]] = {}
        self._events: deque[RecordedEvent] = deque(maxlen=1000)
        self._told_dead: set[HelperThread] = set()
        self._lock = threading.Lock()

    def add(self, thread: HelperThread) -> None:
        """Watch a thread from its start on."""
        with self._lock:
            self._threads = [one for one in self._threads if not one.has_ended]
            self._threads.append(thread)

    def note(self, name: str, problem: str, *, is_told: bool) -> None:
        """Take in an error that a thread did not foresee.

        Args:
            name: of the thread.
            problem: the error.
            is_told: whether it becomes an event, or is only counted.
        """
        with self._lock:
            self._failures[name] += 1
            self._last[name] = (problem, self._clock())
            if is_told:
                data = {"thread": name, "problem": problem}
                self._events.append(
                    RecordedEvent(HELPER_FAILED, f"{name}: {problem}; it goes on", data=data)
                )

    def tell(self, event: RecordedEvent) -> None:
        """Take in an event of a thread that serves several cameras."""
        with self._lock:
            self._events.append(event)

    @property
    def failures(self) -> dict[str, int]:
        """Unforeseen errors so far, by the name of the thread."""
        with self._lock:
            return dict(self._failures)

    @property
    def dead(self) -> list[str]:
        """Names of the threads that ended and should not have."""
        with self._lock:
            return sorted({thread.name for thread in self._threads if thread.is_dead})

    @property
    def unwell(self) -> dict[str, str]:
        """The last error of each thread that met one lately, by its name."""
        with self._lock:
            now_s = self._clock()
            return {
                name: problem for name, (problem, at_s) in self._last.items() if now_s - at_s < STEADY_S
            }

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call."""
        with self._lock:
            for thread in self._threads:
                if thread.is_dead and thread not in self._told_dead:
                    self._told_dead.add(thread)
                    logger.error("the helper thread '%s' is dead", thread.name)
                    self._events.append(
                        RecordedEvent(HELPER_DEAD, thread.name, data={"thread": thread.name})
                    )
            return [self._events.popleft() for _ in range(len(self._events))]

    def as_json(self) -> dict[str, object]:
        """Return the account of a run, for its summary."""
        return {"failures": self.failures, "dead": self.dead}


_WATCHING: ContextVar[tuple[Helpers, ...]] = ContextVar("helpers", default=())


@contextmanager
def watched_by(*helpers: Helpers) -> Iterator[None]:
    """Let threads that are started from here, also by each other, tell these what happens to them."""
    token = _WATCHING.set(helpers)
    try:
        yield
    finally:
        _WATCHING.reset(token)


class Telling:
    """Tell the first of errors that follow each other, and count the others."""

    def __init__(self) -> None:
        self._told_s = float("-inf")
        self._untold = 0

    def more(self) -> str | None:
        """Return what to add to a line that tells of an error now; None if it is only to be counted."""
        now_s = time.monotonic()
        if now_s - self._told_s < TOLD_EVERY_S:
            self._untold += 1
            return None
        more = f" ({self._untold} more since the last time)" if self._untold else ""
        self._told_s, self._untold = now_s, 0
        return more


class HelperThread(threading.Thread):
    """Work beside inspection, whatever happens; see the module. It logs about the camera of its starter.

    Args:
        name: of the thread, for people.
        work: called again after each exception, until it returns.
        end: asks the thread to end; `work` looks at it. None for one that ends by itself, or never.
        pause: waits for so many seconds or until the end is asked for; `end.wait`, if not given.
    Attributes:
        has_ended: whether it ended as it should.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        end: threading.Event | None = None,
        *,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._end = end or threading.Event()
        self._pause = pause or self._end.wait
        self._watching: tuple[Helpers, ...] = ()
        self._around = copy_context()
        self._is_started = False
        self._telling = Telling()
        self.has_ended = False

    @property
    def is_dead(self) -> bool:
        """Whether it ended and should not have."""
        return self._is_started and not self.has_ended and not self.is_alive()

    def start(self) -> None:
        """Start, watched by those of `watched_by`.

        Raises:
            RuntimeError: if it was started before, or the system has no thread to give.
        """
        self._around = copy_context()
        self._watching = _WATCHING.get()
        super().start()
        self._is_started = True
        for helpers in self._watching:
            helpers.add(self)

    def run(self) -> None:
        """Work until the work is done."""
        self._around.run(self._work_on)

    def _work_on(self) -> None:
        pause_s, tries_at_end = FIRST_PAUSE_S, 0
        began_s = time.monotonic()
        while not self._works_to_its_end():
            tries_at_end += self._end.is_set()
            if tries_at_end >= TRIES_AT_END:
                break
            if time.monotonic() - began_s >= STEADY_S:
                pause_s = FIRST_PAUSE_S
            self._pause(pause_s)
            pause_s, began_s = min(2 * pause_s, LONGEST_PAUSE_S), time.monotonic()
        self.has_ended = True

    def _works_to_its_end(self) -> bool:
        try:
            self._work()
        # The last resort: whatever it is (a library's panic is no Exception), the thread goes on.
        except BaseException as error:  # noqa: BLE001
            self.note(error)
            return False
        return True

    def note(self, error: BaseException, *, is_logged: bool = False) -> None:
        """Note an error that was not foreseen; `work` may do so itself where it can go on at once.

        Args:
            error: that was met.
            is_logged: the log has it already.
        """
        problem, more = described(error), self._telling.more()
        if more is not None and not is_logged:
            logger.error(
                "the helper thread '%s' failed: %s; it goes on%s", self.name, problem, more, exc_info=error
            )
        for helpers in self._watching:
            helpers.note(self.name, problem, is_told=more is not None)


class OptionalWork:
    """Guard work that a result is good without: an unforeseen error is noted, and inspection goes on.

    Use it as often as wanted in one thread: `with self._kinds: ...`. With `LOOMSIGHT_TRACEBACK` set it lets
    errors through.

    Args:
        name: of the work, for people.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._telling = Telling()

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, Exception) or wants_traceback(os.environ):
            return False
        problem, more = described(error), self._telling.more()
        if more is not None:
            logger.error("%s failed: %s; inspection goes on%s", self.name, problem, more, exc_info=error)
        for helpers in _WATCHING.get():
            helpers.note(self.name, problem, is_told=more is not None)
        return True


def note_here(error: BaseException) -> None:
    """Let those who watch this thread know of an error that was not foreseen, and is logged already."""
    thread = threading.current_thread()
    if isinstance(thread, HelperThread):
        thread.note(error, is_logged=True)


def described(error: BaseException) -> str:
    """Return an error that nobody foresaw in one line: kind, text, and where it was raised."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  # of an exception's own text
        text = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}{': ' if text else ''}{text[:300]}{place}"

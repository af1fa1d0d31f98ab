"""Deliver stops from a thread of its own: inspection never waits for the machine."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Full, Queue

from typing_extensions import Self

from edge.config.machine import MachineSettings
from edge.core.errors import MachineError
from edge.machine.protocol import StopLine
from edge.process.supervised import HelperThread, described

logger = logging.getLogger(__name__)

MOST_WAITING = 4
"""Stops that wait to be delivered. One is enough to stop a machine."""

FIRST_PAUSE_S = 0.05
"""Before the second try; it doubles with every further one."""

LONGEST_PROBE_PAUSE_S = 60.0
"""A machine that is away is looked for in pauses that double up to this."""

TIMEOUTS_PER_CALL = 5
"""A call that hangs lasts so many times its timeout: to connect, and twice for each of two replies."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Hold a stop to deliver.

    Attributes:
        event_id: of the stop in the record.
        captured_s: `time.monotonic()` when the frame that led to it was complete.
        asked_s: when it was asked for.
    """

    event_id: str
    captured_s: float
    asked_s: float


@dataclass(frozen=True, slots=True)
class StopResult:
    """Report the result of a stop.

    Attributes:
        acknowledged_s: when the machine had it; None if it was not delivered.
        problem: why it was not.
        tries: how often it was tried.
    """

    request: StopRequest
    acknowledged_s: float | None
    problem: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class MachineNews:
    """Report that the machine was lost or is back."""

    is_reachable: bool
    detail: str


@dataclass(frozen=True, slots=True)
class SignalFound:
    """The signal to stop stood before this run gave any: a run before was killed, or another gave it."""

    detail: str


OwnNews = StopResult | MachineNews | SignalFound


class StopDelivery:
    """Deliver stops to a machine, and watch the connection while there are none.

    Args:
        line: reaches the machine.
        settings: retries, times.
        released: called with the name of the machine once the signal is taken back.
    Attributes:
        is_reachable: None before the first look.
        is_running: whether the machine runs; None if it does not say.
    """

    def __init__(
        self, line: StopLine, settings: MachineSettings, released: Callable[[str], None] = lambda _: None
    ) -> None:
        self._line = line
        self._released = released
        self._settings = settings
        self._queue: Queue[StopRequest] = Queue(MOST_WAITING)
        self._news: deque[OwnNews] = deque(maxlen=1000)
        self._end = threading.Event()
        self._release_s: float | None = None
        self._has_looked = False
        self._thread = HelperThread("machine", self._deliver_all, self._end)
        self.is_reachable: bool | None = None
        self.is_running: bool | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(self._longest_s() + self._settings.give_up_s)  # to deliver, and to release

    def request(self, request: StopRequest) -> None:
        """Ask for a stop, without waiting; `news` says what became of it."""
        try:
            self._queue.put_nowait(request)
        except Full:
            self._news.append(StopResult(request, None, "other stops are still waiting"))

    def news(self) -> list[OwnNews]:
        """Return, once, what happened since the last call."""
        news = []
        while self._news:
            news.append(self._news.popleft())
        return news

    def settle(self) -> None:
        """Wait until what was asked for is delivered or given up."""
        deadline_s = time.monotonic() + self._longest_s()
        while self._thread.is_alive() and self._queue.unfinished_tasks and time.monotonic() < deadline_s:
            time.sleep(0.01)

    def _longest_s(self) -> float:
        return self._settings.give_up_s + TIMEOUTS_PER_CALL * self._settings.timeout_s

    def _deliver_all(self) -> None:
        try:
            self._deliver_until_the_end()
            self._release_at_the_end()
        finally:
            self._line.close()

    def _deliver_until_the_end(self) -> None:
        pause_s, next_probe_s = self._settings.probe_s, 0.0
        while not self._end.is_set() or not self._queue.empty():
            request = self._next(next_probe_s)
            if request is not None:
                self._account_for(request)
            elif time.monotonic() >= next_probe_s and not self._end.is_set():
                reached = self._probe()
                pause_s = self._settings.probe_s if reached else min(2 * pause_s, LONGEST_PROBE_PAUSE_S)
                next_probe_s = time.monotonic() + pause_s
            self._release_if_due()

    def _next(self, next_probe_s: float) -> StopRequest | None:
        """Wait for a request until something else is due, and look now and then whether this is the end."""
        due_s = min(next_probe_s, self._release_s or next_probe_s) - time.monotonic()
        try:
            return self._queue.get(timeout=min(max(due_s, 0.001), 0.1))
        except Empty:
            return None

    def _account_for(self, request: StopRequest) -> None:
        """Deliver a stop and tell what became of it, whatever happens."""
        result = StopResult(request, None, "the helper thread failed")
        try:
            result = self._delivered(request)
        finally:
            self._news.append(result)
            self._queue.task_done()

    def _delivered(self, request: StopRequest) -> StopResult:
        pause_s, problem = FIRST_PAUSE_S, "it came too late"
        for tried in range(self._settings.retries + 1):
            if time.monotonic() - request.asked_s > self._settings.give_up_s:
                return StopResult(request, None, problem, tried)
            try:
                self._line.fire()
            except Exception as error:  # noqa: BLE001  # a stop is tried again, whatever came between
                problem = self._problem_of(error)
                self._reached(False, problem)
                time.sleep(pause_s)
                pause_s *= 2
            else:
                self._reached(True, self._line.name)
                return StopResult(request, time.monotonic(), "", tried + 1)
            finally:
                self._plan_release()
        return StopResult(request, None, problem, self._settings.retries + 1)

    def _problem_of(self, error: Exception) -> str:
        """Return what to say of an error; one that was not foreseen is noted as such."""
        if isinstance(error, MachineError):
            return error.problem
        self._thread.note(error)
        return f"{self._line.name} failed: {described(error)}"

    def _plan_release(self) -> None:
        """Take the signal back after a while, also one that may stand though nobody has acknowledged it."""
        if self._settings.release_after_s is not None and self._line.may_stand:
            self._release_s = time.monotonic() + self._settings.release_after_s

    def _release_if_due(self) -> None:
        if self._release_s is not None and time.monotonic() >= self._release_s and not self._release():
            self._release_s = time.monotonic() + self._settings.probe_s

    def _release_at_the_end(self) -> None:
        """Take the signal back before its time, and say so if that fails: then it may stand for ever."""
        deadline_s, pause_s = time.monotonic() + self._settings.give_up_s, FIRST_PAUSE_S
        while self._release_s is not None and not self._release():
            if time.monotonic() + pause_s > deadline_s:
                logger.error("the signal to stop may still stand: %s was not reached", self._line.name)
                return
            time.sleep(pause_s)
            pause_s *= 2

    def _release(self) -> bool:
        try:
            self._line.release()
        except Exception as error:  # noqa: BLE001  # see `_delivered`
            self._reached(False, self._problem_of(error))
            return False
        self._release_s = None
        self._released(self._line.name)
        return True

    def _probe(self) -> bool:
        try:
            self.is_running = self._line.probe()
            self._look_for_signal()
        except Exception as error:  # noqa: BLE001  # see `_delivered`
            self._reached(False, self._problem_of(error))
            return False
        self._reached(True, self._line.name)
        return True

    def _look_for_signal(self) -> None:
        """Look, at the first contact, whether a signal stands that this run has not given."""
        if self._has_looked or self._line.may_stand:
            return
        stands = self._line.stands()
        self._has_looked = True
        if not stands:
            return
        after_s = self._settings.release_after_s
        then = "somebody has to take it back" if after_s is None else f"it is taken back in {after_s:g} s"
        detail = f"{self._line.name} had the signal to stop at the start of the run; {then}"
        logger.warning("%s", detail)
        self._news.append(SignalFound(detail))
        if after_s is not None:
            self._release_s = time.monotonic() + after_s

    def _reached(self, is_reachable: bool, detail: str) -> None:
        """Tell of a change; that the machine is there at the start is none."""
        before, self.is_reachable = self.is_reachable, is_reachable
        if not is_reachable:
            self.is_running = None
        if before is is_reachable or (before is None and is_reachable):
            return
        log = logger.info if is_reachable else logger.error
        log("machine %s: %s", "reached again" if is_reachable else "lost", detail)
        self._news.append(MachineNews(is_reachable, detail))

"""Delivering stops from a thread of its own: inspection never waits for the machine."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from queue import Empty, Full, Queue

from typing_extensions import Self

from edge.camera_log import as_here
from edge.errors import MachineError
from edge.machine.protocol import StopLine
from edge.machine.settings import MachineSettings

logger = logging.getLogger(__name__)

MOST_WAITING = 4
"""Stops that wait to be delivered. One is enough to stop a machine."""

FIRST_PAUSE_S = 0.05
"""Before the second try; it doubles with every further one."""

LONGEST_PROBE_PAUSE_S = 60.0
"""A machine that is away is looked for in pauses that double up to this."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A stop to deliver.

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
    """What became of a stop.

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
    """The machine was lost or is back."""

    is_reachable: bool
    detail: str


class StopDelivery:
    """Deliver stops to a machine, and watch the connection while there are none.

    Args:
        line: reaches the machine.
        settings: retries, times.
    Attributes:
        is_reachable: None before the first look.
        is_running: whether the machine runs; None if it does not say.
    """

    def __init__(self, line: StopLine, settings: MachineSettings) -> None:
        self._line = line
        self._settings = settings
        self._queue: Queue[StopRequest] = Queue(MOST_WAITING)
        self._news: deque[StopResult | MachineNews] = deque(maxlen=1000)
        self._end = threading.Event()
        self._release_s: float | None = None
        self._thread = threading.Thread(target=as_here(self._deliver_all), name="machine", daemon=True)
        self.is_reachable: bool | None = None
        self.is_running: bool | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(self._settings.give_up_s + 2 * self._settings.timeout_s)

    def request(self, request: StopRequest) -> None:
        """Ask for a stop, without waiting; `news` says what became of it."""
        try:
            self._queue.put_nowait(request)
        except Full:
            self._news.append(StopResult(request, None, "other stops are still waiting"))

    def news(self) -> list[StopResult | MachineNews]:
        """Return, once, what happened since the last call."""
        news = []
        while self._news:
            news.append(self._news.popleft())
        return news

    def settle(self) -> None:
        """Wait until what was asked for is delivered or given up."""
        deadline_s = time.monotonic() + self._settings.give_up_s + 2 * self._settings.timeout_s
        while self._thread.is_alive() and self._queue.unfinished_tasks and time.monotonic() < deadline_s:
            time.sleep(0.01)

    def _deliver_all(self) -> None:
        pause_s, next_probe_s = self._settings.probe_s, 0.0
        while not self._end.is_set() or not self._queue.empty():
            request = self._next(next_probe_s)
            if request is not None:
                self._news.append(self._delivered(request))
                self._queue.task_done()
            elif time.monotonic() >= next_probe_s and not self._end.is_set():
                reached = self._probe()
                pause_s = self._settings.probe_s if reached else min(2 * pause_s, LONGEST_PROBE_PAUSE_S)
                next_probe_s = time.monotonic() + pause_s
            self._release_if_due()
        self._release_if_due(at_once=True)
        self._line.close()

    def _next(self, next_probe_s: float) -> StopRequest | None:
        """Wait for a request until something else is due, and look now and then whether this is the end."""
        due_s = min(next_probe_s, self._release_s or next_probe_s) - time.monotonic()
        try:
            return self._queue.get(timeout=min(max(due_s, 0.001), 0.1))
        except Empty:
            return None

    def _delivered(self, request: StopRequest) -> StopResult:
        pause_s, problem = FIRST_PAUSE_S, "it came too late"
        for tried in range(self._settings.retries + 1):
            if time.monotonic() - request.asked_s > self._settings.give_up_s:
                return StopResult(request, None, problem, tried)
            try:
                self._line.fire()
            except MachineError as error:
                problem = error.problem
                self._reached(False, error.problem)
                time.sleep(pause_s)
                pause_s *= 2
            else:
                now_s = time.monotonic()
                if self._settings.release_after_s is not None:
                    self._release_s = now_s + self._settings.release_after_s
                self._reached(True, self._line.name)
                return StopResult(request, now_s, "", tried + 1)
        return StopResult(request, None, problem, self._settings.retries + 1)

    def _release_if_due(self, at_once: bool = False) -> None:
        if self._release_s is None or (not at_once and time.monotonic() < self._release_s):
            return
        try:
            self._line.release()
            self._release_s = None
        except MachineError as error:
            self._reached(False, error.problem)
            self._release_s = None if at_once else time.monotonic() + self._settings.probe_s

    def _probe(self) -> bool:
        try:
            self.is_running = self._line.probe()
        except MachineError as error:
            self._reached(False, error.problem)
            return False
        self._reached(True, self._line.name)
        return True

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

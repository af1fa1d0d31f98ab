"""Share one connection to a machine between cameras: a GPIO line has one owner, a PLC few places."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import Self

from edge.config.machine import MachineSettings
from edge.machine.choose import choose_line
from edge.machine.delivery import OwnNews, StopDelivery, StopRequest, StopResult


@dataclass(frozen=True, slots=True)
class StoppedByAnother:
    """Report that another camera has stopped the machine already."""

    acknowledged_s: float


News = OwnNews | StoppedByAnother


class Delivery(Protocol):
    """Deliver stops to a machine: `StopDelivery`, or one camera's way to a machine of several."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    @property
    def is_reachable(self) -> bool | None:
        """Whether the machine answers; None before the first look."""
        ...

    @property
    def is_running(self) -> bool | None:
        """Whether the machine runs; None if it does not say."""
        ...

    def request(self, request: StopRequest) -> None:
        """Ask for a stop, without waiting."""
        ...

    def news(self) -> Sequence[News]:
        """Return, once, what happened since the last call."""
        ...

    def settle(self) -> None:
        """Wait until what was asked for is delivered or given up."""
        ...


class Machines:
    """Open each machine of a device once, whichever cameras stop it.

    Args:
        stack: closes them.
        released: see `StopDelivery`.
    """

    def __init__(self, stack: ExitStack, released: Callable[[str], None] = lambda _: None) -> None:
        self._stack = stack
        self._released = released
        self._machines: dict[MachineSettings, _Machine] = {}

    def delivery(self, settings: MachineSettings) -> Delivery:
        """Return a camera's way to a machine; those of one table lead to one.

        Raises:
            ConfigError, ImportError: as of `choose_line`.
        """
        machine = self._machines.get(settings)
        if machine is None:
            delivery = StopDelivery(choose_line(settings), settings, self._released)
            machine = self._machines[settings] = _Machine(self._stack.enter_context(delivery))
        return machine.way()


class _Machine:
    """Give each camera the news that are its own."""

    def __init__(self, delivery: StopDelivery) -> None:
        self.delivery = delivery
        self._ways: list[_Way] = []
        self._asked: dict[str, _Way] = {}
        self._lock = threading.Lock()

    def way(self) -> _Way:
        """Return a way for one more camera."""
        way = _Way(self)
        self._ways.append(way)
        return way

    def request(self, way: _Way, request: StopRequest) -> None:
        """Ask for a stop, and remember who did."""
        with self._lock:
            self._asked[request.event_id] = way
        self.delivery.request(request)

    def sort_news(self) -> None:
        """Hand each camera what happened since the last call."""
        with self._lock:
            for news in self.delivery.news():
                asked = None
                if isinstance(news, StopResult):
                    asked = self._asked.pop(news.request.event_id, None)
                for way in self._ways:
                    way.take(news, is_own=way is asked)


class _Way:
    """One camera's way to a machine. Satisfies `Delivery`; the machine is entered and left elsewhere."""

    def __init__(self, machine: _Machine) -> None:
        self._machine = machine
        self._news: deque[News] = deque(maxlen=1000)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @property
    def is_reachable(self) -> bool | None:
        """See `Delivery`."""
        return self._machine.delivery.is_reachable

    @property
    def is_running(self) -> bool | None:
        """See `Delivery`."""
        return self._machine.delivery.is_running

    def request(self, request: StopRequest) -> None:
        """See `Delivery`."""
        self._machine.request(self, request)

    def settle(self) -> None:
        """See `Delivery`."""
        self._machine.delivery.settle()

    def news(self) -> list[News]:
        """See `Delivery`."""
        self._machine.sort_news()
        return [self._news.popleft() for _ in range(len(self._news))]

    def take(self, news: OwnNews, *, is_own: bool) -> None:
        """Take in what happened; of a stop that another camera asked for only that the machine stands."""
        if is_own or not isinstance(news, StopResult):
            self._news.append(news)
        elif news.acknowledged_s is not None:
            self._news.append(StoppedByAnother(news.acknowledged_s))

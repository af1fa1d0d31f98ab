"""Pace clients: requests beyond a rate wait, and a host that guesses passwords is left out for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_GUESSES: Final = 5
"""Wrong passwords of a host before it has to wait."""

WAIT_S: Final = 30.0
"""So long a host that guessed has to wait; a program with an old password tries again after that."""

MOST_HOSTS: Final = 1000


class Pace:
    """Grant so many requests a second, and a burst of two seconds' worth (a token bucket).

    Args:
        per_s: requests.
        clock: monotonic seconds.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = 2 * per_s
        self._clock = clock
        self._left = self._burst
        self._at_s = clock()

    def wait_s(self) -> float:
        """Take the place of a request; returns the seconds that it has to wait."""
        now_s = self._clock()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s) - 1
        self._at_s = now_s
        return max(0.0, -self._left / self._per_s)


class Guesses:
    """Count wrong passwords by host.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hosts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def may_try(self, host: str) -> bool:
        """Tell whether a host may try a password now."""
        count, at_s = self._hosts.get(host, (0, 0.0))
        if count and self._clock() - at_s >= WAIT_S:
            self._hosts.pop(host)
            return True
        return count < MOST_GUESSES

    def wrong(self, host: str) -> None:
        """Take in a wrong password."""
        count, _ = self._hosts.pop(host, (0, 0.0))
        self._hosts[host] = (count + 1, self._clock())
        if len(self._hosts) > MOST_HOSTS:
            self._hosts.popitem(last=False)

    def right(self, host: str) -> None:
        """Forget what a host guessed."""
        self._hosts.pop(host, None)

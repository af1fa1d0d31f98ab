"""Cache what was computed lately, up to a limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class BoundedStore(Generic[Value]):
    """Hold values by number; the one unused longest goes first. The newest always stays.

    Args:
        limit: most weight kept, in whatever `weigh` counts.
        weigh: weight of a value; None to count every value as 1.
    """

    def __init__(self, limit: int, weigh: Callable[[Value], int] | None = None) -> None:
        self._limit = limit
        self._weigh = weigh or (lambda _: 1)
        self._values: OrderedDict[int, Value] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._values)

    @property
    def weight(self) -> int:
        """Weight of all that is held."""
        return self._weight

    def get(self, key: int, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made now if it is not held."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        self._values[key] = value
        self._weight += self._weigh(value)
        while self._weight > self._limit and len(self._values) > 1:
            _, oldest = self._values.popitem(last=False)
            self._weight -= self._weigh(oldest)
        return value

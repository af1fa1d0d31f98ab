"""Ask for the next roll whenever an input of the machine rises, from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from typing_extensions import Self

from edge.config.machine import MachineSettings
from edge.core.errors import LoomsightError, MachineError
from edge.core.events import RecordedEvent
from edge.machine.roll_input import Edge, Input
from edge.pipeline.changes import RollChanges, RollRequest
from edge.process.supervised import HelperThread, described

logger = logging.getLogger(__name__)


LOOK_S = 0.1
"""How often the input is read."""


LONGEST_PAUSE_S = 30.0
"""A machine that is away is looked for in pauses that double up to this."""


class RollInput:
    """Ask for the next roll whenever an input rises. A `Reporter`; entering starts the thread.

    The roll ends where the camera was when the input rose, not when that was certain.

    Args:
        line: reads the input.
        settings: how long a change has to hold.
        changes: are told.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        line: Input,
        settings: MachineSettings,
        changes: RollChanges,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._changes = changes
        self._clock = clock
        self._edge = Edge(settings.roll_hold_s)
        self._mark: int | None = None
        self._was_on = False
        self._events: deque[RecordedEvent] = deque(maxlen=1000)
        self._is_lost = False
        self._end = threading.Event()
        self._thread = HelperThread("roll input", self._look_on, self._end)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(5.0)

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call."""
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def look(self) -> bool:
        """Read the input once; returns whether it could be read."""
        try:
            is_on = self._line.read()
        except MachineError as error:
            self._edge.forget()
            self._was_on = False
            self._note_lost(error)
            return False
        if self._is_lost:
            self._is_lost = False
            self._events.append(RecordedEvent("roll input back", self._line.name))
        if is_on and not self._was_on:
            self._mark = self._changes.mark()
        self._was_on = is_on
        if self._edge.rises(is_on, self._clock()):
            self._ask()
        return True

    def _ask(self) -> None:
        try:
            self._changes.ask(RollRequest("signal"), self._mark)
        except LoomsightError as error:
            logger.error("the signal for the next roll came to nothing: %s", error)
            self._events.append(RecordedEvent("roll not changed", error.problem))
        except Exception as error:
            self._events.append(RecordedEvent("roll not changed", described(error)))
            raise

    def _note_lost(self, error: MachineError) -> None:
        if not self._is_lost:
            logger.error("%s The next roll cannot be signalled.", error)
            self._events.append(RecordedEvent("roll input lost", error.problem))
        self._is_lost = True

    def _look_on(self) -> None:
        pause_s = LOOK_S
        try:
            while not self._end.wait(pause_s):
                pause_s = LOOK_S if self.look() else min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._edge.forget()
            self._line.close()

"""Open the request sources for the next roll: another program's requests and the machine's signal."""

from __future__ import annotations

import time
from contextlib import ExitStack

from edge.config.edge import EdgeConfig
from edge.core.errors import LoomsightError
from edge.core.events import RecordedEvent, Reporter
from edge.pipeline.changes import RollChanges, RollRequest
from edge.roll.recorder import RollRecorder

LOOK_S = 1.0
"""How often the record is asked for requests."""


class RecordedRequests:
    """Take the requests of other programs from the roll record. A `Reporter`: asked after each frame.

    Args:
        recorder: has them, and answers those that cannot be fulfilled.
        changes: are told.
    """

    def __init__(self, recorder: RollRecorder, changes: RollChanges) -> None:
        self._recorder = recorder
        self._changes = changes
        self._looked_s = -LOOK_S

    def events(self) -> list[RecordedEvent]:
        """Look for requests, now and then; returns nothing."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return []
        self._looked_s = now_s
        for request in self._recorder.requests():
            try:
                wanted = request.name, request.article, request.request_id
                self._changes.ask(RollRequest("command", *wanted, who=request.who))
            except LoomsightError as error:
                self._recorder.refuse(request.request_id, error.problem, error.cure)
        return []


def asking_for_rolls(
    config: EdgeConfig, recorder: RollRecorder | None, changes: RollChanges, stack: ExitStack
) -> list[Reporter]:
    """Return who asks, by the settings; what needs a thread runs until the stack closes.

    Raises:
        ImportError: if the package that reaches the machine is not installed.
    """
    sources: list[Reporter] = []
    if recorder is not None:
        sources.append(RecordedRequests(recorder, changes))
    if config.machine.roll_input is not None:
        from edge.app.roll_input import RollInput
        from edge.machine.choose import choose_input

        sources.append(
            stack.enter_context(RollInput(choose_input(config.machine), config.machine, changes))
        )
    return sources

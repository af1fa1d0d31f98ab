"""Do what clients ask for, in the way of the live page: the next roll, its article, a stop."""

from __future__ import annotations

import re
import time
from collections import deque
from typing import Final, NamedTuple

from edge.audit.who import user_named
from edge.core.errors import LoomsightError
from edge.core.events import RecordedEvent, utc_now
from edge.machine.delivery import StopRequest
from edge.page.live import LivePage
from edge.pipeline.changes import RollRequest
from edge.roll.values import roll_name_of

NAMELESS: Final = re.compile(r"roll of \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""The name of a roll without one of its own; see `roll_name_of`."""

RECIPE_PREPARED: Final = "recipe prepared"
STOP_ASKED: Final = "machine stop asked for"

REFUSED: Final = -1
"""`Error` of an answer: the device does not do it now, and `Reason` says why."""


class Answer(NamedTuple):
    """Say what became of a method call.

    Attributes:
        error: 0 if it was done, else `REFUSED`.
        reason: why it was not.
        job: name of the roll that was started.
    """

    error: int = 0
    reason: str = ""
    job: str = ""


class CameraControl:
    """Take the requests for one camera. Each is called in a thread of its own, one at a time.

    Args:
        live: what the run tells, and where the next roll is asked for.
        machine_stop: whether clients may stop the machine.
    Attributes:
        prepared: article of the next job; None for that of the roll before.
    """

    def __init__(self, live: LivePage, *, machine_stop: bool) -> None:
        self.live = live
        self.prepared: str | None = None
        self._machine_stop = machine_stop
        self._idle: deque[str] = deque(maxlen=100)

    @property
    def job(self) -> str | None:
        """Name of the roll on the loom; None where it is no job, but what follows on a stop or a start."""
        run = self.live.snapshot.run
        name = run.terms.name or (self.live.recorder.roll_name if self.live.recorder else None)
        is_first = run.roll_number == 1 and name is not None and NAMELESS.fullmatch(name) is not None
        return None if name is None or is_first or name in self._idle else name

    def prepare(self, article: str, who: str) -> Answer:
        """Choose the article of the next job; the roll on the loom stays what it is.

        Args:
            article: empty to take the choice back.
            who: name of the user.
        """
        changes = self.live.changes
        if changes is None:
            return Answer(REFUSED, "Inspection is not running.")
        try:
            if article:
                changes.check(RollRequest("opcua", None, article))
        except LoomsightError as error:
            return Answer(REFUSED, str(error))
        self.prepared = article or None
        self._tell(RECIPE_PREPARED, f"article '{article}'", {"article": article or None, "who": who})
        return Answer()

    def start(self, part: str, article: str, who: str) -> Answer:
        """End the roll on the loom, and begin a job.

        Args:
            part: name of its roll; empty for one that is made of the time.
            article: empty for the one that was prepared, else that of the roll before.
            who: name of the user.
        """
        name = part or roll_name_of(utc_now())
        answer = self._ask(RollRequest("opcua", name, article or self.prepared, who=user_named(who)))
        if not answer.error:
            self.prepared = None
        return answer

    def stop(self, who: str) -> Answer:
        """End the job. The cloth that follows is inspected as a roll that is none."""
        if self.job is None:
            return Answer(REFUSED, "There is no job to stop.")
        name = roll_name_of(utc_now())
        self._idle.append(name)
        answer = self._ask(RollRequest("opcua", name, who=user_named(who)))
        if answer.error:
            self._idle.remove(name)
        return answer

    def stop_machine(self, who: str) -> Answer:
        """Give the signal to stop the machine, as a stop that inspection decides; the record says who."""
        if not self._machine_stop:
            return Answer(REFUSED, "The settings do not permit it: opcua.machine_stop is false.")
        stops = self.live.health.stops
        if stops is None or stops.delivery is None or stops.mode != "on" or not self._is_running:
            return Answer(REFUSED, 'This run cannot reach the machine: stop.mode is not "on".')
        event = self._tell(STOP_ASKED, "by OPC UA", {"who": who})
        now_s = time.monotonic()
        stops.delivery.request(StopRequest(event.event_id, now_s, now_s))
        return Answer()

    @property
    def _is_running(self) -> bool:
        return self.live.changes is not None and self.live.snapshot.phase != "ended"

    def _ask(self, request: RollRequest) -> Answer:
        changes = self.live.changes
        if changes is None or not self._is_running:
            return Answer(REFUSED, "Inspection is not running.")
        try:
            changes.ask(request)
        except LoomsightError as error:
            return Answer(REFUSED, str(error))
        return Answer(job=request.name or "")

    def _tell(self, kind: str, detail: str, data: dict[str, str | None]) -> RecordedEvent:
        """Let the record know what was asked for, and by whom."""
        who = data["who"]
        event = RecordedEvent(kind, f"{detail} (opcua, '{who}')", data={"by": "opcua", **data})
        self.live.health.helpers.tell(event)
        return event

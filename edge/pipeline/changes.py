"""Queue requests for the next roll: asked by any thread, done by the one that inspects."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from edge.cameras.capture import Capture
from edge.cameras.raw_stream import RecordedChange
from edge.config.stop import StopSettings
from edge.core.errors import ConfigError, LoomsightError
from edge.core.events import RecordedEvent, new_id, utc_now
from edge.inference.inspector import Inspector
from edge.reference.second_look import Looker
from edge.roll.values import RollHead, roll_name_of

logger = logging.getLogger(__name__)

MOST_WAITING = 16
"""Changes that wait for their line. Nobody ends sixteen rolls within one queue of frames."""

MOST_REMEMBERED = 200
"""Ids of requests that are known again when they come twice."""

Origin = Literal["operator", "command", "signal", "joint", "opcua", "rest"]


@dataclass(frozen=True, slots=True)
class RollRequest:
    """Ask for the next roll.

    Attributes:
        by: who asks.
        name: None for one that is made of the time.
        article: None for the one before.
        request_id: one that came before is not done again.
        knew: of a replay: whether the recorded run used an article file that was learnt; None if none is.
        who: the person, as the audit log calls them; None if that is not known.
    """

    by: Origin
    name: str | None = None
    article: str | None = None
    request_id: str = field(default_factory=new_id)
    knew: bool | None = None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class RollPlan:
    """Say how the next roll is inspected.

    Attributes:
        head: of the roll, for the record.
        article_changes: whether it is other cloth than before.
        inspector: another one; None for the one before.
        reference: that goes with it; None for none.
        class_names: of its model.
        stop: policy that holds from here on; None for the one before.
        knows: whether its article file was learnt by a run.
        events: what there is to say of it.
    """

    head: RollHead
    article_changes: bool = False
    inspector: Inspector | None = None
    reference: Looker | None = None
    class_names: tuple[str, ...] = ()
    selvedge_margin_mm: float = 0.0
    stop: StopSettings | None = None
    knows: bool = False
    events: tuple[RecordedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class RollChange:
    """Change the roll behind the frame of this number."""

    request: RollRequest
    last_frame_id: int

    def recorded(self, *, knows: bool) -> RecordedChange:
        """Return it as a recording keeps it.

        Args:
            knows: see `RollPlan`.
        """
        request = self.request
        return RecordedChange(
            request.by, request.name, request.article, request.request_id, self.last_frame_id, knows or None
        )


class RollChanges:
    """Keep what was asked for until its place in the stream comes.

    A roll ends with the last line that the camera had delivered when the next one was asked for: frames
    that wait for inspection then belong to the roll that they were woven on.

    Args:
        check: raises a `LoomsightError` for a request that cannot be fulfilled.
    """

    def __init__(self, check: Callable[[RollRequest], None] = lambda _: None) -> None:
        self._check = check
        self._waiting: deque[RollChange] = deque()
        self._known: deque[str] = deque(maxlen=MOST_REMEMBERED)
        self._lock = threading.Lock()
        self._capture: Capture | None = None
        self._beside: tuple[RollChanges, ...] = ()

    def share_with(self, beside: Sequence[RollChanges]) -> None:
        """Let other cameras of the same loom change their rolls with this one, under one name."""
        self._beside = tuple(beside)

    def attach(self, capture: Capture | None) -> None:
        """Take the stream that changes lie in; None when it has ended."""
        with self._lock:
            self._capture = capture
            if capture is None:
                self._waiting.clear()

    def ask(self, request: RollRequest, last_frame_id: int | None = None) -> bool:
        """Ask for the next roll.

        Args:
            request: what for.
            last_frame_id: of the old roll, as `mark` gave it; None for the last one delivered by now.
        Returns:
            False if this very request came before.
        Raises:
            LoomsightError: if it cannot be done; nothing happens then.
        """
        if request.request_id in self._known:
            return False
        self._check(request)
        if self._beside and request.name is None:
            request = replace(request, name=roll_name_of(utc_now()))
        with self._lock:
            if request.request_id in self._known:
                return False
            if self._capture is None:
                raise ConfigError("Inspection is not running.", "Ask again when it does.")
            if len(self._waiting) >= MOST_WAITING:
                raise ConfigError("Too many changes of roll are waiting.", "Wait for the cloth to move on.")
            if last_frame_id is None:
                last_frame_id = self._capture.mark()
            if self._waiting:
                last_frame_id = max(last_frame_id, self._waiting[-1].last_frame_id)
            self._known.append(request.request_id)
            self._waiting.append(RollChange(request, last_frame_id))
        by = f"{request.by}, '{request.who}'" if request.who else request.by
        logger.info("the next roll was asked for (%s)", by)
        for other in self._beside:
            other.follow(request)
        return True

    def check(self, request: RollRequest) -> None:
        """See that a request could be fulfilled, and do nothing.

        Raises:
            LoomsightError: why it cannot.
        """
        self._check(request)

    def replay(self, change: RecordedChange) -> None:
        """Ask for what was asked for when a recording was made.

        Raises:
            LoomsightError: if it cannot be done now.
        """
        by: Origin = next((one for one in get_args(Origin) if one == change.changed_by), "command")
        request = RollRequest(by, change.roll, change.article, change.request_id, change.knew)
        self.ask(request, change.last_frame_id)

    def follow(self, request: RollRequest) -> None:
        """Do what another camera of the same loom was asked for; what speaks against it is logged."""
        try:
            self.ask(request)
        except LoomsightError as error:
            logger.warning("the roll does not change with that of the camera beside: %s", error)

    def mark(self) -> int | None:
        """Note this moment for an `ask` that may follow; None while nothing is captured."""
        with self._lock:
            return self._capture.mark() if self._capture is not None else None

    def due(self, before: int | None = None) -> RollChange | None:
        """Return the next change that lies before the frame of this number; None if there is none.

        Args:
            before: None if all that was captured has been taken.
        """
        with self._lock:
            if self._waiting and (before is None or self._waiting[0].last_frame_id < before):
                return self._waiting.popleft()
        return None

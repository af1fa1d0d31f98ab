"""Deliver the stops of a run: decided by the policy, sent to the machine, written to the record."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from typing_extensions import Self

from edge.cloth.defects import ClothDefect
from edge.cloth.recurring import RECURS_M
from edge.config.stop import StopSettings
from edge.core.events import RecordedEvent, new_id
from edge.core.latency import LatencyHistogram
from edge.decisions.policy import BlockOnRoll, StopDecision, StopPolicy, own_pieces
from edge.machine.delivery import MachineNews, SignalFound, StopRequest, StopResult
from edge.machine.shared import Delivery, News, StoppedByAnother

logger = logging.getLogger(__name__)

STOP: Final = "stop"
WOULD_BE_STOP: Final = "would-be stop"
HELD_BACK: Final = "stop held back"
DELIVERED: Final = "stop delivered"
NOT_DELIVERED: Final = "stop not delivered"
MACHINE_LOST: Final = "machine lost"
MACHINE_BACK: Final = "machine back"
SIGNAL_FOUND: Final = "stop signal found"
JOINED: Final = "defects joined"

WHY_HELD_BACK: Final = {
    "rate": "as many stops as permitted in an hour",
    "distance": "too near to the last stop",
}

COAST_S = 10.0
"""A frame later than this after a delivered stop means that the machine runs again."""

MOST_NAMED = 2000
"""Defects whose ids are kept; the oldest go first."""


@dataclass(slots=True)
class _Named:
    """A defect with the id that it has in the record, or will have."""

    event_id: str
    defect: ClothDefect
    is_recorded: bool = False


class Stops:
    """Decide after each frame whether to stop the machine, and say so. Entering starts the delivery.

    Args:
        settings: the policy; `mode` is not `off`.
        class_names: of the model.
        delivery: to the machine, with the mode `on`; None in shadow.
        earlier_stops_s: see `StopPolicy`.
    Attributes:
        counts: events by kind.
        decided: from the end of a frame's capture to the decision it led to, also in shadow.
        acknowledged: from the end of the capture to the machine's acknowledgement: the stop latency.
    """

    def __init__(
        self,
        settings: StopSettings,
        class_names: Sequence[str],
        delivery: Delivery | None = None,
        earlier_stops_s: Sequence[float] = (),
    ) -> None:
        self.mode = settings.mode
        self.delivery = delivery
        self.counts: Counter[str] = Counter()
        self.decided = LatencyHistogram()
        self.acknowledged = LatencyHistogram()
        self._policy = StopPolicy(settings, class_names, earlier_stops_s)
        self._named: list[_Named] = []
        self._events: list[RecordedEvent] = []
        self._was_held_back: str | None = None
        self._stands_since_s: float | None = None
        self._delivered_s: tuple[float, ...] | None = None

    def __enter__(self) -> Self:
        if self.delivery is not None:
            self.delivery.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.delivery is not None:
            self.delivery.__exit__(*error)

    def placed(
        self,
        start_m: float,
        captured_s: float,
        found: Sequence[ClothDefect],
        defects: Sequence[ClothDefect],
        end_m: float | None = None,
    ) -> None:
        """Decide about a frame, and have the machine stopped.

        Args:
            start_m: where the frame begins, in metres of the camera.
            captured_s: `time.monotonic()` when the frame was complete.
            found: its detections; what lies on lines carried over from the frame before does not count.
            defects: those they belong to, growing or complete.
            end_m: where the frame ends; None: where what was found ends.
        """
        if self._stands_since_s is not None and captured_s > self._stands_since_s + COAST_S:
            self._stands_since_s = None
        if self.mode == "off":
            return
        now_s, own = time.monotonic(), own_pieces(found, start_m)
        if end_m is None:
            end_m = max((one.end_m for one in own), default=start_m)
        decision = self._policy.decide(BlockOnRoll(start_m, end_m, own, defects), now_s)
        if decision is None or decision.held_back is not None:
            self._note_held_back(decision, defects)
            return
        self._was_held_back = None
        self.decided.add((now_s - captured_s) * 1000)
        event = self._told(
            STOP if self.mode == "on" else WOULD_BE_STOP, decision, defects, now_s - captured_s
        )
        logger.warning("%s at %.3f m: %s", event.kind, decision.at_m, decision.reason)
        if self.delivery is not None and self.mode == "on":
            self.delivery.request(StopRequest(event.event_id, captured_s, now_s))

    def new_policy(self, settings: StopSettings, class_names: Sequence[str], at_m: float) -> None:
        """Decide by another policy from a place on, in metres of the camera: other cloth begins there.

        What would have stopped a machine that is stopped again from here on uses up none of its stops.
        """
        was_on, is_on = self.mode == "on", settings.mode == "on"
        if was_on and not is_on:
            self._delivered_s = self._policy.stops_s
        before = self._delivered_s if is_on and not was_on else None
        self.mode = settings.mode
        self._policy = self._policy.following(settings, class_names, at_m, before)
        self._was_held_back = None

    def id_of(self, defect: ClothDefect) -> str:
        """Return the id under which a defect that is complete is recorded: the one a stop named it by.

        Args:
            defect: in metres of the camera.
        """
        names = [one for one in self._named if not one.is_recorded and defect.has_part(one.defect)]
        for other in names[1:]:
            other.is_recorded = True
            self._tell_joined(names[0].event_id, other.event_id, defect.start_m)
        if not names:
            names = [_Named(new_id(), defect)]
            self._remember(names[0])
        names[0].defect, names[0].is_recorded = defect, True
        return names[0].event_id

    def comes_again(self, before: ClothDefect, again: ClothDefect) -> None:
        """Name a defect that comes again at the same ends, and is not recorded, as the one before.

        Args:
            before: recorded, or called so itself.
            again: complete.
        """
        event_id = next(
            (one.event_id for one in self._named if one.is_recorded and one.defect == before), None
        )
        if event_id is None:  # there is no record
            return
        for other in [one for one in self._named if not one.is_recorded and again.has_part(one.defect)]:
            self._named.remove(other)
            self._tell_joined(event_id, other.event_id, again.start_m)
        self._remember(_Named(event_id, again, is_recorded=True))

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call; places are in metres of the camera."""
        for news in self.delivery.news() if self.delivery else ():
            self._note(news)
        events, self._events = self._events, []
        return events

    def settle(self) -> None:
        """Wait until no stop is under way."""
        if self.delivery is not None:
            self.delivery.settle()

    @property
    def stands(self) -> bool:
        """Whether the machine is known to stand: it says so, or took a stop and has not moved since."""
        running = self.delivery.is_running if self.delivery else None
        return running is False or (running is None and self._stands_since_s is not None)

    def as_json(self) -> dict[str, Any]:
        """Return the account of a run, for its summary."""
        return {
            "mode": self.mode,
            "stops": self.counts[STOP],
            "would_be_stops": self.counts[WOULD_BE_STOP],
            "held_back": self.counts[HELD_BACK],
            "delivered": self.counts[DELIVERED],
            "not_delivered": self.counts[NOT_DELIVERED],
            "decision_ms": self.decided.quantiles(),
            "stop_latency_ms": self.acknowledged.quantiles() if len(self.acknowledged) else None,
        }

    def _note_held_back(self, decision: StopDecision | None, defects: Sequence[ClothDefect]) -> None:
        """Tell the first of several in a row that are held back for one reason."""
        held_back = decision.held_back if decision else None
        if decision is not None and held_back is not None and held_back != self._was_held_back:
            self._told(HELD_BACK, decision, defects, None)
        self._was_held_back = held_back

    def _told(
        self, kind: str, decision: StopDecision, defects: Sequence[ClothDefect], seconds: float | None
    ) -> RecordedEvent:
        ids = list(dict.fromkeys(self._name(one, defects) for one in decision.evidence))
        data: dict[str, Any] = {"reason": decision.reason, "defects": ids}
        why = ""
        if decision.held_back is not None:
            data["held_back"] = decision.held_back
            why = f"; {WHY_HELD_BACK[decision.held_back]}"
        if seconds is not None:
            data["decision_ms"] = round(seconds * 1000, 3)
        detail = f"{decision.reason}{why}; defects {', '.join(ids)}"
        return self._tell(RecordedEvent(kind, detail, decision.at_m, data=data))

    def _name(self, piece: ClothDefect, defects: Sequence[ClothDefect]) -> str:
        """Return the id of the defect that a piece belongs to; one not recorded yet gets one."""
        whole = next((one for one in defects if one.has_part(piece)), piece)
        for named in self._named:
            if named.defect.has_part(piece) or (not named.is_recorded and whole.has_part(named.defect)):
                return named.event_id
        named = _Named(new_id(), whole)
        self._remember(named)
        return named.event_id

    def _tell_joined(self, event_id: str, part: str, at_m: float) -> None:
        detail = f"what a stop called {part} is part of {event_id}"
        self._tell(RecordedEvent(JOINED, detail, at_m, data={"id": event_id, "part": part}))

    def _remember(self, named: _Named) -> None:
        self._named.append(named)
        reach_m = named.defect.start_m - self._policy.reach_m - 1 - 2 * RECURS_M
        self._named = [one for one in self._named if not one.is_recorded or one.defect.end_m >= reach_m]
        del self._named[:-MOST_NAMED]

    def _note(self, news: News) -> None:
        if isinstance(news, StoppedByAnother):
            self._stands_since_s = news.acknowledged_s
        elif isinstance(news, SignalFound):
            self._tell(RecordedEvent(SIGNAL_FOUND, news.detail))
        else:
            self._tell(self._of_machine(news) if isinstance(news, MachineNews) else self._of_stop(news))

    def _of_stop(self, result: StopResult) -> RecordedEvent:
        data: dict[str, Any] = {"stop": result.request.event_id, "tries": result.tries}
        if result.acknowledged_s is None:
            logger.error("stop not delivered: %s", result.problem)
            return RecordedEvent(
                NOT_DELIVERED,
                f"{result.request.event_id}: {result.problem}",
                data=data | {"why": result.problem},
            )
        latency_ms = (result.acknowledged_s - result.request.captured_s) * 1000
        self.acknowledged.add(latency_ms)
        self._stands_since_s = result.acknowledged_s
        detail = f"{result.request.event_id}: acknowledged {latency_ms:.1f} ms after the frame"
        return RecordedEvent(DELIVERED, detail, data=data | {"latency_ms": round(latency_ms, 3)})

    def _of_machine(self, news: MachineNews) -> RecordedEvent:
        return RecordedEvent(MACHINE_BACK if news.is_reachable else MACHINE_LOST, news.detail)

    def _tell(self, event: RecordedEvent) -> RecordedEvent:
        self.counts[event.kind] += 1
        self._events.append(event)
        return event

"""Report how the broker does: events for the record, lines for the log, warnings for health and page."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from edge.core.counted import counted
from edge.core.events import RecordedEvent
from edge.mqtt.lanes import News
from edge.mqtt.reasons import TAKEN_OVER, Lost, RefusedMessage

logger = logging.getLogger(__name__)

AWAY_S = 10.0
"""A broker that is away for less is no event."""

UNSEEN_DENIALS: Final = (
    "the broker speaks only MQTT 3.1.1, in which it acknowledges what it denies: "
    "what its access list forbids is lost unseen"
)
SHORT_S: Final = 10.0
SHORT_ONES: Final = 3
"""So many connections in a row that the broker closes so soon look like two devices of one name."""

CLOSES_SOON: Final = (
    "The broker closes each connection soon after it was made. The probable cause is a second device with "
    "the same mqtt.box (a copied card?): each throws the other out. Give each its own."
)


class Reports:
    """Keep what is to be reported. Written by the thread that sends, read by others.

    Args:
        broker: as people write it.
    Attributes:
        away: why there is no connection; None while there is one, or before the first try.
        is_thrown_out: another device may have the same name: come back slowly.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._events: deque[RecordedEvent] = deque(maxlen=1000)
        self._standing: dict[str, str] = {}
        self._logged: set[str] = set()
        self._away_since_s: float | None = None
        self._away_is_event = False
        self._short_ones = 0
        self._is_full = False
        self.is_thrown_out = False
        self.away: str | None = None

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call."""
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def warnings(self) -> list[str]:
        """Say what is wrong now, beside a broker that is away."""
        return list(self._standing.values())

    def reached(self, says_what_it_denies: bool) -> None:
        """Note a connection."""
        logger.info("connected to %s%s", self._broker, "" if says_what_it_denies else " with MQTT 3.1.1")
        if not says_what_it_denies:
            self._log_once("%s: %s; `loomsight mqtt check` tries it", self._broker, UNSEEN_DENIALS)
        if self._away_is_event:
            self._event("broker back", self._broker)
        self._away_since_s, self._away_is_event, self.away = None, False, None

    def is_away(self, lost: Lost) -> None:
        """Note that there is no connection; an event once that lasts."""
        now_s, self.away = time.monotonic(), lost.why
        if self._away_since_s is None:
            self._away_since_s = now_s
            cure = f" {CLOSES_SOON}" if self._short_ones >= SHORT_ONES else f" {lost.cure}".rstrip()
            logger.warning("no connection to %s: %s. Messages wait.%s", self._broker, lost.why, cure)
        if not self._away_is_event and now_s - self._away_since_s >= AWAY_S:
            self._away_is_event = True
            self._event("broker lost", f"{self._broker}: {lost.why}")

    def fell(self, lost: Lost, lasted_s: float, *, is_refusal: bool) -> None:
        """Note how a connection ended; find out whether another device has the same name.

        Args:
            is_refusal: whether a message that the broker refuses may have ended it.
        """
        is_short = lost.cut and lasted_s < SHORT_S and not is_refusal
        self._short_ones = self._short_ones + 1 if is_short else 0
        self.is_thrown_out = lost.code == TAKEN_OVER or self._short_ones >= SHORT_ONES
        if lost.code == TAKEN_OVER:
            self._stand("name", f"{lost.why}. {lost.cure}", "broker name in use")
        elif self._short_ones >= SHORT_ONES:
            self._stand("name", CLOSES_SOON, "broker name in use")

    def holds(self) -> None:
        """Note that a connection lasts: nobody else has its name."""
        self._short_ones = 0
        self._standing.pop("name", None)

    def status_refused(self, topic: str, refusal: RefusedMessage) -> None:
        """Note that the broker does not take the status of this device."""
        self._stand("status", f"the broker refuses {topic}: {refusal.why}", "messages refused")

    def status_taken(self) -> None:
        """Note that the broker takes the status of this device, now that somebody lets it."""
        self._standing.pop("status", None)

    def unreadable(self, error: sqlite3.Error) -> None:
        """Note that the outbox cannot be read or written; its messages wait."""
        self._stand("record", f"the outbox cannot be used now, messages wait: {error}", None)

    def readable(self) -> None:
        """Note that the outbox can be read and written."""
        if self._standing.pop("record", None):
            self._logged.clear()
            logger.info("the outbox can be used again")

    def news(self, news: Iterable[News]) -> None:
        """Take in what the lanes report."""
        for kind, detail in news:
            logger.log(
                logging.INFO if kind == "messages accepted" else logging.WARNING, "%s: %s", kind, detail
            )
            self._event(kind, detail)

    def unsendable(self, count: int, why: str) -> None:
        """Note messages of the record that can never be sent.

        Args:
            count: of all so far.
            why: of the last one.
        """
        rows = counted(count, "row")
        text = f"{rows} of the outbox cannot be sent, set aside in the record; the last: {why}"
        self._stand("unsendable", text, "message set aside" if "unsendable" not in self._standing else None)

    def depth(self, depth: int, most: int) -> None:
        """Note how much waits; say when there is no more room, and when there is again."""
        is_full = depth >= most
        if is_full and not self._is_full:
            detail = f"{counted(depth, 'message')} waiting; what comes now is in the record and is not sent"
            self._event("outbox full", detail)
        if self._is_full and not is_full:
            self._event("outbox has room", f"{counted(depth, 'message')} waiting")
        self._is_full = is_full

    def _stand(self, what: str, text: str, kind: str | None) -> None:
        """Keep a warning until it is over; log it once, and make it an event once."""
        is_new = what not in self._standing
        self._standing[what] = text
        self._log_once("%s: %s", self._broker, text)
        if kind is not None and is_new:
            self._event(kind, text)

    def _log_once(self, text: str, *values: str) -> None:
        line = text % values
        if line not in self._logged and len(self._logged) < 1000:
            self._logged.add(line)
            logger.warning("%s", line)

    def _event(self, kind: str, detail: str) -> None:
        self._events.append(RecordedEvent(kind, detail))

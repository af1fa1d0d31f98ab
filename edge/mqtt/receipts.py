"""Wait for the office: what the broker has is known to be safe only when the office has stored it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from edge.config.mqtt import MqttSettings
from edge.core.counted import counted
from edge.mqtt.connection import Connection
from edge.mqtt.messages import STORED
from edge.mqtt.outgoing import receipts_of
from edge.roll.outbox import OutboxReader

logger = logging.getLogger(__name__)

DENIED: Final = 0x80
LONGEST_PAUSE_S: Final = 3600.0
"""A message is sent again so seldom when the office is away for long."""


class Receipts:
    """Collect what the office says to have stored, and keep the record in step.

    A broker that is killed may lose what it has acknowledged. The office gets messages in their order, so
    its receipt of a later one shows which are lost; when none comes, one is sent again, as a probe.

    Args:
        settings: whether receipts are awaited, and how long.
        clock: monotonic seconds.
    Attributes:
        is_on: whether messages wait for a receipt.
        sent_again: messages that the broker had, and the office did not get.
    """

    def __init__(self, settings: MqttSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._topic = f"{settings.root}/{STORED}"
        self._question: int | None = None
        self._arrived: list[tuple[int, str]] = []
        self._pause_s = settings.receipt_s
        self._heard_s = clock()
        self.is_on = settings.receipts
        self.why_off = ""
        self.sent_again = 0

    def connected(self, connection: Connection) -> None:
        """Ask the broker for receipts; MQTT 3.1.1 has none."""
        self._heard_s = self._clock()
        if not self._settings.receipts:
            return
        self.is_on = connection.says_what_it_denies
        self.why_off = "" if self.is_on else "MQTT 3.1.1 has no receipts: what the broker loses stays lost"
        self._question = connection.subscribe(STORED) if self.is_on else None

    def collect(self, connection: Connection) -> None:
        """Take what came from the broker."""
        if self._question is not None and connection.subscribed.get(self._question, 0) >= DENIED:
            self._question, self.is_on = None, False
            self.why_off = f"the broker does not let this device read {self._topic}: no receipts"
            logger.warning(self.why_off)
        for topic, payload in connection.received:
            if topic == self._topic:
                self._arrived += receipts_of(payload)
        connection.received.clear()

    def apply(self, reader: OutboxReader) -> bool:
        """Bring the record in step with what came, or send a probe; in the sender's thread.

        Raises:
            sqlite3.Error: if the record cannot be read or written now; what came is kept.
        """
        if self._arrived:
            lost = reader.stored(self._arrived)
            self._arrived.clear()
            self._heard_s, self._pause_s = self._clock(), self._settings.receipt_s
            self._note(lost)
        elif self.is_on and self._clock() - self._heard_s >= self._pause_s:
            self._heard_s = self._clock()
            self._pause_s = min(2 * self._pause_s, max(LONGEST_PAUSE_S, self._pause_s))
            reader.forget_receipts(self._settings.most_waiting)
            if reader.probe():
                logger.info("no receipt of the office for long: one message is sent again")
        return True

    def _note(self, lost: int) -> None:
        if lost:
            self.sent_again += lost
            many = counted(lost, "message")
            logger.warning("the broker lost %s on the way to the office: sent again", many)

"""Publish the outbox to the broker in a thread, in the order of the record."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final, TypeVar

from typing_extensions import Self

from edge import __version__
from edge.audit.entry import Head
from edge.config.mqtt import MqttSettings
from edge.core.counted import counted
from edge.core.events import RecordedEvent
from edge.mqtt.connection import LOOP_S, Connection, Login, dial
from edge.mqtt.lanes import Lanes
from edge.mqtt.messages import MESSAGES, STORED, StatusMessage
from edge.mqtt.outgoing import message_of, receipt_name
from edge.mqtt.reasons import Lost
from edge.mqtt.receipts import Receipts
from edge.mqtt.reports import Reports
from edge.mqtt.tls import tls_context
from edge.process.installation import installation_id
from edge.process.supervised import HelperThread
from edge.roll.outbox import FileIdentity, Outbox, OutboxReader, WaitingMessage

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

STATUS: Final = "status"
TIDY_EVERY_S: Final = 0.5
"""What was acknowledged is taken out of the record so often, or when a hundred are."""

MANY_ACKNOWLEDGED: Final = 100
MOST_ROWS: Final = 1000
MOST_OF_A_NAME: Final = 65
STEADY_S: Final = 60.0
"""A connection that lasts for so long has a name of its own."""

STATUS_EVERY_S: Final = 60.0
"""The newest entry of the audit log is told so often, if there is a newer one."""

RECORD_PAUSE_S: Final = 1.0
"""A record that cannot be read is left alone for so long."""


class Publisher:
    """Send what waits in an outbox. Entering starts the thread, leaving waits for the last messages.

    A message is taken out of the outbox when the broker has acknowledged it (QoS 1). Each connection begins
    with the oldest that was not: so nothing is lost and nothing overtakes, and what the broker had received
    without saying so comes twice, under one id. What the broker refuses stays and is tried again: `Lanes`.

    Args:
        outbox: of the record; it need not exist yet.
        settings: with a broker.
        password: None for none.
        camera: its name, for the status.
        audit_head: gives the newest entry of the audit log, for the status; None without one.
    Attributes:
        outbox: as given.
        is_connected: None before the first try.
        depth: messages that wait, as of the last look.
        sent: messages that were acknowledged.
        unsendable: messages of the record that can never be sent, set aside there.
    Raises:
        ConfigError: if a file of certificates cannot be used.
    """

    def __init__(
        self,
        outbox: Outbox,
        settings: MqttSettings,
        password: str | None = None,
        camera: str = "",
        audit_head: Callable[[], Head | None] | None = None,
    ) -> None:
        self.outbox = outbox
        self._audit_head = audit_head or (lambda: None)
        self._told_head: Head | None = None
        self._settings = settings
        self._camera = camera
        self._installation = installation_id()
        tls, will = tls_context(settings), self._status("lost")
        self._login = Login(settings, password, tls, client_id(settings.root), will)
        self._reports = Reports(str(settings.broker))
        self._receipts = Receipts(settings)
        self._lanes = self._new_lanes()
        self._end = threading.Event()
        self._flush_by_s = 0.0
        self._reader: OutboxReader | None = None
        self._file: FileIdentity | None = None
        self._is_another_file = False
        self._ask_again_s = 0.0
        self._acknowledged: set[int] = set()
        self._faults: dict[int, WaitingMessage] = {}
        self._rows = settings.inflight
        self._is_skipping = False
        self._refused: tuple[str, ...] = ()
        self._is_done = False
        self._thread = HelperThread("mqtt", self._send_all, self._end)
        self.is_connected: bool | None = None
        self.depth = 0
        self.sent = 0
        self.unsendable = 0

    def __enter__(self) -> Self:
        if self._login.password and not self._settings.is_encrypted:
            logger.warning("the password for %s goes over the network in the clear", self._settings.broker)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._flush_by_s = time.monotonic() + self._settings.flush_s
        self._end.set()
        self._thread.join(self._settings.flush_s + 2 * self._settings.timeout_s)
        if self.depth:
            why = "; ".join([*([self.why_away] if self.why_away else []), *self.warnings()])
            waits = f"{counted(self.depth, 'message')} for the broker: the next run sends what waits"
            logger.warning("%s%s", waits, f" ({why})" if why else "")

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call."""
        return self._reports.events()

    @property
    def why_away(self) -> str | None:
        """Why there is no connection; None while there is one, or before the first try."""
        return self._reports.away or (None if self.is_connected is not False else "it is tried again")

    def warnings(self) -> list[str]:
        """Say what waits though the broker is there, and what else is wrong with it."""
        why_off = self._receipts.why_off
        return [*self._reports.warnings(), *self._refused, *([why_off] if why_off else [])]

    def _send_all(self) -> None:
        while not self.outbox.is_open.wait(0.2):
            if self._end.is_set() and not self.outbox.is_open.is_set():
                return
        pause_s = 1.0
        try:
            while True:
                was_useful = self._connection()
                is_ending = self._end.is_set()  # asked before the record is: then all of the run is in it
                self._tidy()
                if is_ending and (self._is_done or not self.depth or self._is_late):
                    return
                pause_s = 1.0 if was_useful else min(2 * pause_s, self._settings.longest_pause_s)
                self._pause(
                    pause_s * random.uniform(0.7, 1.0)
                )  # two devices of one name should not keep step
        finally:
            self.is_connected = False
            self._close_reader()

    @property
    def _is_late(self) -> bool:
        """Whether the end of the run waits no longer; only of use once it has started."""
        return time.monotonic() >= self._flush_by_s

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; the end of the run cuts it short once."""
        if self._end.is_set():
            time.sleep(min(seconds, 0.5))
        else:
            self._end.wait(seconds)

    def _connection(self) -> bool:
        """Use one connection for as long as it lasts; True if the broker took or refused anything."""
        self._tidy()
        try:
            connection = dial(self._login)
        except Lost as lost:
            self.is_connected = False
            self._reports.is_away(lost)
            return False
        self.is_connected = True
        self._reports.reached(connection.says_what_it_denies)
        started_s, sent = time.monotonic(), self.sent
        try:
            self._use(connection, started_s)
        except Lost as lost:
            self._collect(connection)
            self._reports.fell(
                lost, time.monotonic() - started_s, is_refusal=self._may_be_refusal(connection)
            )
            self._reports.is_away(lost)
            if lost.cut and connection.has_answered and not connection.has_refused:
                news = self._lanes.ended(connection.unacknowledged, self.sent > sent, time.monotonic())
                self._reports.news(news)
            elif lost.cut and not connection.has_answered:
                self._lanes.unanswered(connection.unacknowledged)
            return connection.has_answered and not self._reports.is_thrown_out
        finally:
            self.is_connected = False
            self._collect(connection)
            connection.close()
        return True

    def _may_be_refusal(self, connection: Connection) -> bool:
        """Tell whether the broker may have cut a connection for a message that it refuses.

        The answer to that message may be lost with the connection.
        """
        waits = any(sent.number is not None for sent in connection.unacknowledged)
        return connection.has_refused or bool(self._refused) or waits

    def _use(self, connection: Connection, started_s: float) -> None:
        """Send until the record is another, or all is sent at the end of the run.

        Raises:
            Lost: if the connection is.
        """
        connection.send(None, STATUS, self._status("running"), retain=True)
        self._receipts.connected(connection)
        self._lanes.connected(started_s)
        tidied_s = told_s = started_s
        while True:
            is_ending = self._end.is_set()  # see `_send_all`
            is_all = self._fill(connection)
            connection.turn(0.0 if self._is_skipping else LOOP_S)
            self._collect(connection)
            now_s = time.monotonic()
            if len(self._acknowledged) >= MANY_ACKNOWLEDGED or now_s - tidied_s >= TIDY_EVERY_S:
                tidied_s = now_s
                if not self._tidy():
                    return
                if now_s - started_s >= STEADY_S:
                    self._reports.holds()
            if now_s - told_s >= STATUS_EVERY_S:
                told_s = now_s
                self._tell_head(connection)
            is_empty = is_all and not connection.unacknowledged
            if is_ending and (is_empty or self._is_late):
                self._is_done = True
                connection.send(None, STATUS, self._status("ended"), retain=True)
                return

    def _fill(self, connection: Connection) -> bool:
        """Send what may be sent and has room; True if nothing is left that may be."""
        most = 1 if self._lanes.is_careful else min(self._settings.inflight, connection.granted.inflight)
        room, now_s = most - len(connection.unacknowledged), time.monotonic()
        begin = self._lanes.begin(now_s)
        self._is_skipping = False
        if begin is None or room <= 0 or 2 * room < most:
            return begin is None
        asked = max(room, self._rows)
        rows = self._asked(lambda reader: reader.after(begin, asked))
        if rows is None:
            return False
        busy = {sent.number for sent in connection.unacknowledged if sent.number} | self._acknowledged
        last, sent, faults = begin, 0, []
        for row in rows:
            if sent == room:
                break
            fault, is_sent = self._send(connection, row, busy, now_s)
            faults += fault
            sent += is_sent
            last = row.number
        self._lanes.looked(last, now_s)
        self._faults |= {fault.number: fault for fault in faults}
        is_all = len(rows) < asked and sent < room
        # Rows in turn that may not be sent, of a topic that is refused: take larger steps over them.
        self._is_skipping = not sent and not is_all
        self._rows = min(4 * asked, MOST_ROWS) if self._is_skipping else room
        return is_all

    def _send(
        self, connection: Connection, row: WaitingMessage, busy: Collection[int], now_s: float
    ) -> tuple[list[WaitingMessage], bool]:
        """Send a message if it may be sent; returns it if it never can be, and whether it is under way."""
        try:
            if row.fault is not None:
                return [row], False
            topic, payload = message_of(row)
        except (ValueError, TypeError, RecursionError) as error:
            return [replace(row, fault=" ".join(str(error).split()))], False
        if not self._lanes.may_send(topic, row.number, busy, now_s):
            return [], False
        if not connection.fits(topic, payload):
            why = f"the broker takes no more than {connection.granted.packet_bytes} bytes at once"
            self._reports.news(self._lanes.set_aside(topic, row.number, why, now_s))
            return [], False
        receipt = (STORED, receipt_name(row)) if self._receipts.is_on else None
        connection.send(row.number, topic, payload, receipt=receipt)
        return [], True

    def _set_aside(self) -> None:
        """Take out of the outbox what can never be sent; what cannot be taken out now is next time."""
        faults = list(self._faults.values())
        if faults and self._asked(lambda reader: reader.set_aside(faults)) is not None:
            self._faults.clear()
            self.unsendable += len(faults)
            last = faults[-1]
            self._reports.unsendable(self.unsendable, f"number {last.number}, {last.fault}")

    def _collect(self, connection: Connection) -> None:
        """Take from a connection what the broker has taken, and what it has not."""
        self._acknowledged |= {sent.number for sent in connection.acknowledged if sent.number is not None}
        self.sent += len(connection.acknowledged)
        self._reports.news(self._lanes.accepted(connection.acknowledged))
        self._reports.news(self._lanes.refused(connection.refusals, time.monotonic()))
        if connection.has_taken_status:
            self._reports.status_taken()
        for refusal in connection.refusals:
            if refusal.number is None:
                self._reports.status_refused(f"{self._settings.root}/{STATUS}", refusal)
        connection.acknowledged.clear()
        connection.refusals.clear()
        self._receipts.collect(connection)

    def _tidy(self) -> bool:
        """Take out of the record what was acknowledged; False if there is another record now."""
        gone = set(self._acknowledged)
        waits = self._receipts.is_on
        if gone and self._asked(lambda reader: reader.sent(gone, awaits_receipt=waits)) is not None:
            self._acknowledged -= gone
        self._asked(self._receipts.apply)
        self._set_aside()
        depth = self._asked(lambda reader: reader.depth())
        self.depth = self.depth if depth is None else depth
        self._reports.depth(self.depth, self.outbox.most_waiting)
        self._refused = tuple(self._lanes.warnings())
        if self._reader is not None and not self._reader.is_of_this_file:
            self._is_another_file = True
        if not self._is_another_file:
            return True
        logger.warning("%s is another file now: what waits in that one is sent", self.outbox.path)
        self._close_reader()
        self._file, self._is_another_file = None, False
        self._acknowledged.clear()
        self._faults.clear()
        self._lanes = self._new_lanes()
        return False

    def _asked(self, question: Callable[[OutboxReader], Answer]) -> Answer | None:
        """Ask the record; None from one that cannot be used now, which is opened again later."""
        if time.monotonic() < self._ask_again_s or self._is_another_file:
            return None
        try:
            reader = self._reader = self._reader or OutboxReader(self.outbox.path)
            self._file = self._file or reader.file
            if reader.file != self._file:
                self._is_another_file = True  # its numbers mean other messages
                return None
            answer = question(reader)
        except sqlite3.Error as error:
            self._reports.unreadable(error)
            self._ask_again_s = time.monotonic() + RECORD_PAUSE_S
            self._close_reader()
            return None
        self._reports.readable()
        return answer

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(sqlite3.Error):  # it is given up either way
                reader.close()

    def _new_lanes(self) -> Lanes:
        return Lanes(self._settings.root, MESSAGES.keys() - {STATUS}, self._settings.longest_pause_s)

    def _tell_head(self, connection: Connection) -> None:
        """Send the status again where the audit log has a newer entry than the broker knows."""
        if self._audit_head() != self._told_head:
            connection.send(None, STATUS, self._status("running"), retain=True)

    def _status(self, state: str) -> str:
        status: dict[str, Any] = {
            "state": state,
            "loomsight": __version__,
            "camera": self._camera,
            "installation": self._installation,
        }
        head = self._audit_head() if state in ("running", "ended") else None
        if head is not None:
            self._told_head, status["audit"] = head, head._asdict()
        return StatusMessage.model_validate(status).model_dump_json()


def client_id(root: str) -> str:
    """Return the name of a connection: two of one name would throw each other out."""
    whole = f"loomsight-{root}"
    return whole if len(whole) <= MOST_OF_A_NAME else f"loomsight-{sha256(root.encode()).hexdigest()[:40]}"

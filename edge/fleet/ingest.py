"""Run the office: from the broker into the database, with the broker told only of what is stored."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timezone
from typing import Final

import psycopg

from edge.core.errors import DatabaseError
from edge.fleet.database import Connection, connected, why
from edge.fleet.incoming import Arrival, place_of
from edge.fleet.metrics import OfficeMetrics
from edge.fleet.migrate import check_version
from edge.fleet.partitions import Partitions
from edge.fleet.retention import retain
from edge.fleet.settings import OfficeSettings
from edge.fleet.subscriber import Item, OfficeConnection, Subscriber
from edge.fleet.writing import store
from edge.mqtt.messages import STORED, StoredMessage
from edge.process.supervised import HelperThread

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.2
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
LONGEST_RECEIPT_NAME: Final = 200
RECEIPTS_AT_ONCE: Final = 500


class Office:
    """Store what arrives. Entering starts the threads, leaving ends them; nothing is lost in between.

    Args:
        settings: of the office, with a broker.
        password: for the broker; None for none.
    Attributes:
        metrics: what is counted.
        database_away: why the database cannot be used; None while it can.
    """

    def __init__(self, settings: OfficeSettings, password: str | None) -> None:
        self._settings = settings
        self._prefix = settings.mqtt.prefix.rstrip("/")
        self._end = threading.Event()
        self._subscriber = Subscriber(settings.mqtt, password, self._end)
        self._partitions = Partitions()
        self._connection: Connection | None = None
        self._items: list[Item] = []
        self._pause_s = FIRST_PAUSE_S
        self._retained_on: date | None = None
        self.metrics = OfficeMetrics()
        self.database_away: str | None = "not connected yet"
        self._threads = [
            HelperThread("broker", self._subscriber.work, self._end),
            HelperThread("database", self._store_all, self._end),
        ]

    def __enter__(self) -> Office:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(2 * self._settings.mqtt.timeout_s + self._settings.database.timeout_s)

    @property
    def problems(self) -> list[str]:
        """Say what is wrong now; empty if all is well."""
        away = (("broker", self._subscriber.away), ("database", self.database_away))
        dead = [f"the thread {thread.name} is dead" for thread in self._threads if thread.is_dead]
        return [f"{what}: {reason}" for what, reason in away if reason is not None] + dead

    def health(self) -> dict[str, object]:
        """Return what `/healthz` answers."""
        problems = self.problems
        return {
            "ok": not problems,
            "problems": problems,
            "waiting": self._subscriber.inbox.qsize() + len(self._items),
            "stored": self.metrics.rows_stored,
            "refused": self.metrics.refused_messages,
        }

    def metrics_text(self) -> bytes:
        """Return what `/metrics` answers."""
        return self.metrics.text(
            waiting=self._subscriber.inbox.qsize() + len(self._items),
            broker=self._subscriber.away is None,
            database=self.database_away is None,
        )

    def _store_all(self) -> None:
        """Work until the end; a batch that could not be stored is kept for the next try."""
        try:
            while not self._end.is_set():
                self._collect()
                if self._connected() and self._stored():
                    self._keep_house()
        finally:
            self._close()

    def _collect(self) -> None:
        """Take messages: as many as a batch has, or what comes within its time."""
        inbox, most = self._subscriber.inbox, self._settings.batch_rows
        end_s = time.monotonic() + (self._settings.batch_s if self._items else LOOK_S)
        while len(self._items) < most:
            try:
                self._items.append(inbox.get(timeout=max(0.0, end_s - time.monotonic())))
            except queue.Empty:
                return
            if len(self._items) == 1:
                end_s = time.monotonic() + self._settings.batch_s

    def _connected(self) -> bool:
        """Have a connection to the database; says once why there is none."""
        if self._connection is not None:
            return True
        try:
            connection = connected(self._settings.database)
        except DatabaseError as error:
            self._is_away(error)
            return False
        try:
            check_version(connection)
        except (DatabaseError, psycopg.Error) as error:
            connection.close()
            self._is_away(error)
            return False
        self._connection = connection
        self._partitions.forget()
        self.database_away, self._pause_s = None, FIRST_PAUSE_S
        logger.info("connected to the database")
        return True

    def _stored(self) -> bool:
        """Store what was collected, then tell broker and devices."""
        if not self._items:
            return True
        connection, items = self._connection, self._items
        if connection is None:
            return False
        started_s = time.monotonic()
        try:
            done = store(connection, [arrival for arrival, _, _ in items], self._prefix, self._partitions)
        except (psycopg.Error, OSError) as error:
            self._is_away(error)
            self._close()
            return False
        self._items = []
        self.metrics.batch(done, time.monotonic() - started_s)
        for refused in done.refused:
            logger.warning("a message on %s is kept as refused: %s", refused.topic, refused.reason)
        self._tell(items)
        return True

    def _tell(self, items: Sequence[Item]) -> None:
        """Acknowledge to the broker, and give devices the receipts that they asked for."""
        acknowledged: dict[OfficeConnection, list[int]] = defaultdict(list)
        receipts: dict[tuple[OfficeConnection, str], list[str]] = defaultdict(list)
        for arrival, connection, mid in items:
            if mid is not None:
                acknowledged[connection].append(mid)
            topic, name = self._asked_for(arrival)
            if topic and name:
                receipts[connection, topic].append(name)
        for connection, mids in acknowledged.items():
            connection.acknowledge(mids)
        for (connection, topic), names in receipts.items():
            for start in range(0, len(names), RECEIPTS_AT_ONCE):
                message = StoredMessage(stored=names[start : start + RECEIPTS_AT_ONCE])
                connection.publish(topic, message.model_dump_json())

    def _asked_for(self, arrival: Arrival) -> tuple[str | None, str | None]:
        """Return where a receipt goes, and what it names; a device has its own topic, and no other."""
        loom, _ = place_of(arrival.topic, self._prefix)
        own = f"{self._prefix}/{loom}/{STORED}"
        if arrival.reply_topic != own or not arrival.reply_name:
            return None, None
        return own, arrival.reply_name[:LONGEST_RECEIPT_NAME].decode("utf-8", "replace")

    def _keep_house(self) -> None:
        """Have the partitions of the next days, and delete what is too old, once a day."""
        today, connection = datetime.now(timezone.utc).date(), self._connection
        if self._retained_on == today or connection is None:
            return
        try:
            self._partitions.ensure(connection, [])
            if self._settings.retention_days is not None:
                done = retain(connection, self._settings.retention_days)
                logger.info("retention: %s", done)
                self._partitions.forget()
            self._retained_on = today
        except psycopg.Error as error:
            self._is_away(error)
            self._close()

    def _is_away(self, error: Exception) -> None:
        """Say once why the database cannot be used, and wait; what arrived stays, unacknowledged."""
        reason = str(error) if isinstance(error, DatabaseError) else why(error)
        if self.database_away != reason:
            logger.warning("the database is away: %s; what arrives waits", reason)
        self.database_away = reason
        self._end.wait(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

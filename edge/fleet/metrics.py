"""Count what the office stores, for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge.fleet.writing import Stored

LAG_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0)
PREFIX: Final = "loomsight_office"


class OfficeMetrics:
    """Hold the office's counters; the thread of the database counts, any thread reads.

    Attributes:
        rows_stored: new or newer rows since the start.
        refused_messages: since the start.
    """

    def __init__(self) -> None:
        self.rows_stored = 0
        self.refused_messages = 0
        own = self._registry = CollectorRegistry()
        self._rows = Counter(f"{PREFIX}_rows", "New or newer rows, by table.", ["table"], registry=own)
        self._messages = Counter(f"{PREFIX}_messages", "Understood, by topic.", ["topic"], registry=own)
        self._refused = Counter(f"{PREFIX}_refused", "Messages kept and not understood.", registry=own)
        self._checks = Counter(f"{PREFIX}_checks", "Messages of loomsight mqtt check.", registry=own)
        self._lag = Histogram(
            f"{PREFIX}_lag_seconds",
            "From the time of a message to its commit.",
            buckets=LAG_BUCKETS_S,
            registry=own,
        )
        self._commit = Histogram(
            f"{PREFIX}_batch_seconds", "Of a transaction.", buckets=LAG_BUCKETS_S, registry=own
        )
        self._waiting = Gauge(
            f"{PREFIX}_waiting", "Messages that arrived and are not stored yet.", registry=own
        )
        self._broker = Gauge(f"{PREFIX}_broker_connected", "1 while connected.", registry=own)
        self._database = Gauge(f"{PREFIX}_database_connected", "1 while connected.", registry=own)

    def batch(self, done: Stored, seconds: float) -> None:
        """Count a batch that is committed.

        Args:
            done: what it was.
            seconds: it took.
        """
        for table, rows in done.rows.items():
            self._rows.labels(table).inc(rows)
            self.rows_stored += rows
        for topic, messages in done.given.items():
            self._messages.labels(topic).inc(messages)
        self.refused_messages += len(done.refused)
        self._refused.inc(len(done.refused))
        self._checks.inc(done.checks)
        self._commit.observe(seconds)
        for lag_s in done.lags_s:
            self._lag.observe(max(0.0, lag_s + seconds))

    def text(self, *, waiting: int, broker: bool, database: bool) -> bytes:
        """Return all in Prometheus' text format.

        Args:
            waiting: messages that are not stored yet.
            broker, database: whether they are connected.
        """
        self._waiting.set(waiting)
        self._broker.set(broker)
        self._database.set(database)
        return generate_latest(self._registry)

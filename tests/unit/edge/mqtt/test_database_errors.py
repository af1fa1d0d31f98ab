"""Two hundred errors of the database, in recorder and sender: no thread dies, and each event arrives."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from copy import copy
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from edge.cloth.coverage import Coverage
from edge.config.mqtt import MqttSettings
from edge.core.events import RecordedEvent
from edge.health.state import Health
from edge.mqtt import publisher as publisher_module
from edge.mqtt.publisher import Publisher
from edge.process import supervised
from edge.process.supervised import watched_by
from edge.roll import recorder as recorder_module
from edge.roll.outbox import Outbox
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from tests.patience import wait_for
from tests.unit.edge.mqtt.broker import MOSQUITTO, OPENSSL, PASSWORD, USER, WHY_NOT, Broker, Subscriber

ERRORS = {"mqtt": 100, "MainThread": 100}
"""By thread. Two thirds or more of those of the sender are of SQLite, and each costs it one pause of
`RECORD_PAUSE_S`: at its second of the real one the hundred are more than a minute of nothing but pauses, so
the pause is shortened here. It then asks some twenty times a second: the hundred take some five seconds."""

OFTEN = {"mqtt": 0.7, "MainThread": 0.4}
EVENTS = 150
PAUSE_S = 0.2

OF_SQLITE = [
    sqlite3.OperationalError("database is locked"),
    sqlite3.OperationalError("database or disk is full"),
    sqlite3.OperationalError("attempt to write a readonly database"),
    sqlite3.IntegrityError("UNIQUE constraint failed"),
    sqlite3.ProgrammingError("Cannot operate on a closed database."),
    sqlite3.InterfaceError("bad parameter or other API misuse"),
]
OF_DAMAGE = [
    sqlite3.OperationalError("disk I/O error"),
    sqlite3.DatabaseError("database disk image is malformed"),
]
"""The sender tries again after these, too; the recorder sets the file aside and begins another."""

OF_PYTHON = [
    MemoryError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    SystemError("x"),
]


class Faults:
    """Raise in the statements of a thread, now and then, so many times."""

    def __init__(self):
        self.left = dict(ERRORS)
        self.of = {"mqtt": OF_SQLITE + OF_DAMAGE + OF_PYTHON, "MainThread": OF_SQLITE}
        self.often = dict(OFTEN)
        self.asked_s: dict[str, list[float]] = {name: [] for name in ERRORS}
        self.are_on = False
        self._chance = random.Random(3)

    def strike(self):
        name = threading.current_thread().name
        if not self.are_on or name not in self.left:
            return
        self.asked_s[name].append(time.monotonic())
        if self.left[name] and self._chance.random() < self.often[name]:
            self.left[name] -= 1
            raise copy(self._chance.choice(self.of[name]))


@pytest.fixture
def faults(monkeypatch):
    made = Faults()

    class Struck(sqlite3.Connection):
        """A real connection, some of whose statements fail before they begin."""

        def execute(self, *arguments):
            made.strike()
            return super().execute(*arguments)

        def executemany(self, *arguments):
            made.strike()
            return super().executemany(*arguments)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Struck))
    monkeypatch.setattr(Publisher, "_pause", lambda self, seconds: time.sleep(0.002))
    monkeypatch.setattr(publisher_module, "RECORD_PAUSE_S", 0.01)
    monkeypatch.setattr(supervised, "FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(supervised, "LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.0)
    return made


@pytest.fixture
def broker(tmp_path):
    if not (MOSQUITTO and OPENSSL):
        pytest.skip(WHY_NOT)
    folder = tmp_path / "broker"
    folder.mkdir()
    made = Broker(folder)
    made.up()
    yield made
    made.down()


def test_two_hundred_errors_lose_nothing_and_end_no_thread(faults, broker, tmp_path):
    health = Health(600.0)  # no frame passes here
    with Subscriber(broker, "d/b") as matched:
        sent = record_and_send(tmp_path / "rolls.db", broker, faults, health)
        assert wait_for(lambda: set(sent) <= {message["id"] for message in matched.of("event")})
    assert faults.left == {"mqtt": 0, "MainThread": 0}
    assert health.helpers.dead == []
    assert health.verdict().reasons == ()


def test_the_sender_asks_again_a_pause_after_each_error_and_sends_once_the_database_is_well(
    faults, broker, tmp_path, monkeypatch
):
    monkeypatch.setattr(publisher_module, "RECORD_PAUSE_S", PAUSE_S)
    faults.left, faults.often = {"mqtt": 8}, {"mqtt": 1.0}
    faults.of = {"mqtt": OF_SQLITE + OF_DAMAGE}
    health = Health(600.0)
    with Subscriber(broker, "d/b") as matched:
        sent = record_and_send(tmp_path / "rolls.db", broker, faults, health)
        assert wait_for(lambda: set(sent) <= {message["id"] for message in matched.of("event")})
    asked_s = faults.asked_s["mqtt"][:9]  # eight errors, and the first answer
    pauses_s = [later - before for before, later in pairwise(asked_s)]
    assert len(pauses_s) >= 7  # the last error may be one of the end of the run
    assert min(pauses_s) >= PAUSE_S
    assert health.helpers.failures == {}


def record_and_send(path: Path, broker: Broker, faults: Faults, health: Health) -> list[str]:
    """Record events while statements fail, and send them; returns their ids."""
    outbox, coverage, ids = Outbox(path), Coverage(), []
    head = RollHead("loom", "0" * 64, {}, "R1")
    settings = MqttSettings(
        broker=broker.url,
        prefix="d",
        user=USER,
        ca_file=broker.folder / "ca.pem",
        box="b",
        flush_s=60.0,
    )
    with watched_by(health.helpers), Publisher(outbox, settings, PASSWORD) as publisher:
        with RollRecorder(path, head, outbox=outbox) as recorder:
            faults.are_on = True
            while any(faults.left.values()) or len(ids) < EVENTS:
                event = RecordedEvent("x", "y")
                ids.append(event.event_id)
                recorder.take([event], coverage)
                recorder.add([], coverage, None)
                time.sleep(0.01)
                assert len(ids) < 9000, faults.left
            faults.are_on = False
            recorder.finish(coverage, None, "finished")
        assert wait_for(lambda: publisher.depth == 0)
    return ids

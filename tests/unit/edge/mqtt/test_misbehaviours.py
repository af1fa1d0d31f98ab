"""Brokers that misbehave: the sender lives, every message is accounted for, it is said, and all heals."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from edge.cloth.coverage import Coverage
from edge.config.mqtt import MqttSettings
from edge.health.state import Health
from edge.mqtt import lanes
from edge.mqtt.publisher import Publisher
from tests.patience import wait_for
from tests.unit.edge.mqtt.misbehaviours import MISBEHAVIOURS
from tests.unit.edge.mqtt.scripted import CLOSE, Script, ScriptedBroker
from tests.unit.edge.mqtt.test_mqtt import defect, ids_in, recording


@pytest.fixture
def quick(monkeypatch):
    """Shorten the pauses, which are minutes in a plant."""
    monkeypatch.setattr(lanes, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(lanes, "BLAMED_PAUSE_S", 0.1)
    monkeypatch.setattr(lanes, "MOST_BLAMED_PAUSE_S", 0.2)
    monkeypatch.setattr(lanes, "BLAMES", 1)
    monkeypatch.setattr(Publisher, "_pause", lambda self, seconds: self._end.wait(0.02))


def settings(broker, **changes):
    fields = {"broker": broker.url, "box": "b1", "timeout_s": 2.0, "flush_s": 0.0, "inflight": 4}
    return MqttSettings(**{**fields, **changes})


def rows(path, table):
    with closing(sqlite3.connect(path)) as db:
        return [event_id for (event_id,) in db.execute(f"SELECT event_id FROM {table} ORDER BY number")]


def said_by(publisher):
    health = Health(10.0)
    health.attach(None, publisher, lambda: False)
    return " ".join(health.as_json()["warnings"])


def record_some(recorder):
    recorder.event("camera silent", "10 s")
    recorder.event("would-be stop", "x")
    recorder.add([defect(n / 10) for n in range(6)], Coverage(), None)


def test_answers_that_are_lost_with_the_connection_keep_no_other_topic_waiting(tmp_path, quick):
    """One message in flight at a time finds the refused one, though no answer ever came before."""
    path = tmp_path / "rolls.db"
    denies = Script(publish=lambda topic, _: CLOSE if topic == "defect" else 0, answers_when_idle=True)
    outbox, recorder = recording(path)
    with ScriptedBroker(denies) as broker:
        own = settings(broker, longest_pause_s=1.0, inflight=64)
        with recorder, Publisher(outbox, own) as publisher:
            record_some(recorder)
            assert wait_for(lambda: len(rows(path, "outbox")) == 6), (broker.taken, said_by(publisher))
            assert "defect" not in {topic for topic, _ in broker.taken}
            assert wait_for(lambda: "b1/defect" in said_by(publisher))


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_a_broker_that_misbehaves(name, tmp_path, quick):
    path = tmp_path / "rolls.db"
    wrong, matched = MISBEHAVIOURS[name], []
    outbox, recorder = recording(path)
    with ScriptedBroker(wrong.make()) as broker:
        publisher = Publisher(outbox, settings(broker, longest_pause_s=1.0, **wrong.settings))
        with recorder, publisher:
            record_some(recorder)

            def is_said():
                matched.append(said_by(publisher) + " ".join(event.detail for event in publisher.events()))
                return any(wrong.said in one for one in matched)

            assert wait_for(is_said), (matched[-1], broker.connections, broker.came)
            assert publisher._thread.is_alive()
            unaccounted = (
                set(ids_in(path)) - set(rows(path, "outbox")) - set(broker.ids("defect", "event", "stop"))
            )
            assert not unaccounted
            broker.script = Script()
            broker.drop()
            assert wait_for(lambda: set(broker.ids("defect", "event", "stop")) >= set(ids_in(path))), (
                said_by(publisher)
            )
            assert wait_for(lambda: not rows(path, "outbox"))
        assert rows(path, "outbox_set_aside") == []

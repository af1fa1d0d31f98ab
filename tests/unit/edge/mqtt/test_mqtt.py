"""Events over MQTT, with a real broker over TLS: at least once, in order, under one id, through outages."""

from __future__ import annotations

import gc
import json
import logging
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.audit.entry import Head
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.config.device import load_camera
from edge.config.mqtt import PASSWORD_VARIABLE, MqttSettings, password_of
from edge.core.errors import BrokerError, ConfigError
from edge.core.events import RecordedEvent
from edge.mqtt import reports as reports_module
from edge.mqtt.check import check_broker
from edge.mqtt.messages import MESSAGES
from edge.mqtt.outgoing import message_of
from edge.mqtt.publisher import Publisher
from edge.roll.outbox import Outbox, OutboxReader
from edge.roll.reading import read_roll
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from tests.patience import wait_for
from tests.unit.edge.mqtt.broker import MOSQUITTO, OPENSSL, PASSWORD, USER, WHY_NOT, Broker, Subscriber

needs_broker = pytest.mark.skipif(not (MOSQUITTO and OPENSSL), reason=WHY_NOT)
HERE = Path(__file__).parent


def defect(start_m):
    return ClothDefect("broken", 0.9, start_m, start_m + 0.01, 0.0, 5.0)


def recording(path, most_waiting=100_000, **more):
    """Return an outbox, and a recorder that fills it."""
    outbox = Outbox(path, most_waiting)
    return outbox, RollRecorder(path, RollHead("loom", "0" * 64, {}, "R1"), outbox=outbox, **more)


def waiting(path, *origins):
    """Return what waits in the outbox of these origins; of defects and events, if none is named."""
    with closing(OutboxReader(path)) as reader:
        return [row for row in reader.after(0, 10**6) if row.origin in (origins or ("defect", "event"))]


def ids_in(path):
    with closing(sqlite3.connect(path)) as db:
        tables = [
            db.execute(f"SELECT event_id FROM {name} ORDER BY rowid") for name in ("defects", "events")
        ]
        return [event_id for rows in tables for (event_id,) in rows]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rolls.db"


def test_what_is_recorded_waits_in_the_order_of_the_record(path):
    recorder = recording(path)[1]
    coverage = Coverage()
    with recorder:
        recorder.take([RecordedEvent("would-be stop", "x", 0.5, data={"defects": ["a"]})], coverage)
        recorder.add([defect(0.1), defect(0.2)], coverage, None)
        recorder.event("camera silent", "10 s")
        recorder.finish(coverage, None, "finished")
    rows = waiting(path)
    sent = [(topic, json.loads(text)) for topic, text in map(message_of, rows)]
    assert [topic for topic, _ in sent] == ["defect", "defect", "stop", "event"]
    assert [message["id"] for _, message in sent] == ids_in(path)
    assert sent[2][1]["data"] == {"defects": ["a"]}
    assert sent[0][1]["roll"] == "R1"
    for topic, message in sent:
        MESSAGES[topic].model_validate(message)


def test_a_defect_that_no_detector_names_is_sent_with_its_shape(path):
    recorder = recording(path)[1]
    with recorder:
        line = replace(defect(0.1), class_name="unclassified", shape="warp line")
        recorder.add([line, defect(0.2)], Coverage(), None)
    sent = [json.loads(message_of(row)[1]) for row in waiting(path)]
    assert [(one["class_name"], one["shape"]) for one in sent] == [
        ("unclassified", "warp line"),
        ("broken", None),
    ]


def test_a_defect_is_sent_with_its_kind(path):
    recorder = recording(path)[1]
    with recorder:
        recorder.add([replace(defect(0.1), kind="broken end"), defect(0.2)], Coverage(), None)
    sent = [json.loads(message_of(row)[1]) for row in waiting(path)]
    assert [one["kind"] for one in sent] == ["broken end", None]


def test_events_of_the_start_wait_too(path):
    recorder = recording(path)[1]
    with recorder:
        recorder.event("x", "y")
        recorder.add([], Coverage(), None)
    with recording(path)[1]:  # the first run ended without a word
        pass
    assert [row.fields["kind"] for row in waiting(path)] == ["x", "roll interrupted", "roll continued"]


def test_without_a_broker_nothing_waits(path):
    with RollRecorder(path, RollHead("loom", "0" * 64, {})) as recorder:
        recorder.add([defect(0.1)], Coverage(), None)
    assert waiting(path) == []


def test_a_full_outbox_still_records(path):
    recorder = recording(path, most_waiting=3)[1]
    with recorder:
        recorder.add([defect(n) for n in range(5)], Coverage(), None)
    assert len(waiting(path, "defect", "roll")) == 3
    assert len(ids_in(path)) == 5


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mqtts://box:pw@host", "every process list shows"),
        ("http://host", "is permitted"),
        ("mqtts://host/topic", "is permitted"),
        ("mqtts://host:99999", "is permitted"),
        ("host:1883", "is permitted"),
    ],
)
def test_addresses_that_are_refused(address, said):
    with pytest.raises(ConfigError, match=said) as refused:
        load_camera(None, {}, {"mqtt": address})
    assert "pw@" not in str(refused.value)


def test_where_the_password_comes_from(tmp_path):
    (tmp_path / "p").write_text("from file\nmore\n", encoding="utf-8")
    (tmp_path / "p").chmod(0o600)
    named = MqttSettings(broker="mqtts://h", user="u", password_file=tmp_path / "p")
    assert password_of(named, {PASSWORD_VARIABLE: "from environment"}) == "from file"
    bare = MqttSettings(broker="mqtts://h", user="u")
    assert password_of(bare, {PASSWORD_VARIABLE: "from environment"}) == "from environment"
    assert password_of(bare, {}) is None
    with pytest.raises(ConfigError, match="no user"):
        password_of(MqttSettings(broker="mqtts://h"), {PASSWORD_VARIABLE: "x"})
    with pytest.raises(ConfigError, match="password_file"):
        password_of(MqttSettings(user="u", password_file=tmp_path / "none"), {})


def test_a_flag_names_the_broker_and_leaves_the_table(tmp_path):
    (tmp_path / "box.toml").write_text('[mqtt]\nuser = "u"\nbox = "loom-7"\n', encoding="utf-8")
    mqtt = load_camera(tmp_path / "box.toml", {}, {"mqtt": "mqtt://10.0.0.9"}).config.mqtt
    assert (mqtt.user, mqtt.address, mqtt.root) == ("u", ("10.0.0.9", 1883), "loomsight/loom-7")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.down()


@pytest.fixture
def running(broker):
    broker.down()
    broker.up()
    return broker


def settings(broker, prefix, **changes):
    fields = {"broker": broker.url, "user": USER, "ca_file": broker.folder / "ca.pem", "prefix": prefix}
    return MqttSettings(**{**fields, "box": "b1", "timeout_s": 2.0, **changes})


@needs_broker
def test_defects_events_and_status_arrive(running, path, caplog):
    caplog.set_level(logging.DEBUG)
    outbox, recorder = recording(path)
    with Subscriber(running, "t1/b1") as subscriber:
        publisher = Publisher(outbox, settings(running, "t1"), PASSWORD, "loom")
        with publisher, recorder:
            recorder.event("camera silent", "10 s")
            recorder.add([defect(0.1)], Coverage(), None)
            assert wait_for(lambda: len(subscriber.of("defect", "event")) == 2)
        assert wait_for(lambda: [one["state"] for one in subscriber.of("status")] == ["running", "ended"])
        assert [one["id"] for one in subscriber.of("defect", "event")] == ids_in(path)
    assert waiting(path) == []
    assert (publisher.sent, publisher.depth, publisher.events()) == (3, 0, [])  # the roll, too
    assert PASSWORD not in caplog.text


@needs_broker
def test_the_status_names_the_newest_entry_of_the_audit_log(running, path, monkeypatch):
    monkeypatch.setattr("edge.mqtt.publisher.STATUS_EVERY_S", 0.05)
    heads = [Head(3, "a" * 64)]
    outbox, recorder = recording(path)
    with Subscriber(running, "t9/b1") as subscriber:
        publisher = Publisher(outbox, settings(running, "t9"), PASSWORD, "loom", lambda: heads[-1])
        with publisher, recorder:
            assert wait_for(lambda: subscriber.of("status"))
            heads.append(Head(4, "b" * 64))
            assert wait_for(lambda: len(subscriber.of("status")) == 2)
        assert wait_for(lambda: len(subscriber.of("status")) == 3)
        told = [(one["state"], one["audit"]["number"]) for one in subscriber.of("status")]
    assert told == [("running", 3), ("running", 4), ("ended", 4)]


@needs_broker
def test_a_broker_killed_and_revived_gets_all_in_order(running, path, monkeypatch):
    monkeypatch.setattr(reports_module, "AWAY_S", 0.0)
    outbox, recorder = recording(path)
    with Subscriber(running, "t2/b1", "lasting") as subscriber:
        publisher = Publisher(outbox, settings(running, "t2", flush_s=20), PASSWORD)
        with publisher, recorder:
            for number in range(300):
                recorder.add([defect(float(number))], Coverage(), None)
                if number == 100:
                    assert wait_for(lambda: len(subscriber.of("defect")) == 101)
                    running.save()
                    running.down()
            assert wait_for(lambda: publisher.is_connected is False)
            running.up()
            assert wait_for(lambda: len({one["id"] for one in subscriber.of("defect")}) == 300), (
                publisher.sent,
                publisher.depth,
                publisher.is_connected,
                publisher.why_away,
                len(subscriber.got),
                publisher.warnings(),
            )
        kinds = [event.kind for event in publisher.events()]
    first_times = list(dict.fromkeys(one["id"] for one in subscriber.of("defect")))
    assert first_times == ids_in(path)
    assert waiting(path) == []
    assert kinds[0] == "broker lost"
    assert kinds[-1] == "broker back"


@needs_broker
def test_a_day_without_broker(broker, path):
    """10,000 events, none of which waits for the broker; then all arrive, in order."""
    broker.down()
    outbox, recorder = recording(path)
    slowest_s = 0.0
    with Publisher(outbox, settings(broker, "t3", flush_s=0), PASSWORD), recorder:
        for number in range(100):
            for one in range(50):
                recorder.event("tick", f"{number} {one}")
            begin_s = time.monotonic()
            recorder.add([defect(number + one / 100) for one in range(50)], Coverage(), None)
            slowest_s = max(slowest_s, time.monotonic() - begin_s)
    assert len(waiting(path)) == 10_000
    assert slowest_s < 2.0  # a wait for the broker would be a timeout of seconds
    broker.up()
    with Subscriber(broker, "t3/b1") as subscriber:
        outbox, recorder = recording(path)
        with Publisher(outbox, settings(broker, "t3", inflight=200), PASSWORD), recorder:
            assert wait_for(lambda: len(subscriber.of("defect", "event")) >= 10_001)
    got = [one["id"] for one in subscriber.of("defect", "event")]
    with closing(sqlite3.connect(path)) as db:
        assert len(set(got)) == 10_002 - len(waiting(path))
        query = "SELECT event_id FROM events WHERE kind = 'tick' ORDER BY rowid"
        ticks = [event_id for (event_id,) in db.execute(query)]
    wanted = set(ticks)
    assert [one for one in got if one in wanted] == ticks


@needs_broker
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket"
)  # paho leaves one to the collector
def test_who_is_not_let_in(running, path):
    with pytest.raises(BrokerError, match="refuses: Not authorized"):
        check_broker(settings(running, "t4"), "wrong")
    with pytest.raises(BrokerError, match=r"the certificate of .* is not accepted: self-signed"):
        check_broker(settings(running, "t4", ca_file=None), PASSWORD)
    assert "authorises this device" in check_broker(settings(running, "t4"), PASSWORD)
    with pytest.raises(ConfigError, match="There is no file"):
        check_broker(settings(running, "t4", ca_file=path), PASSWORD)


@needs_broker
@pytest.mark.parametrize(
    ("certificate", "host", "said", "cure"),
    [
        ({"days": 0}, "localhost", "has expired, by the clock of this device: 2", "Renew it on the broker"),
        (
            {"names": "DNS:broker.example"}, "localhost", "is for another host than localhost",
            "Name in mqtt.broker a host that the certificate has,",
        ),
        (
            {"names": "DNS:localhost"}, "127.0.0.1", "is for another host than 127.0.0.1",
            "Name in mqtt.broker a host that the certificate has,",
        ),
    ],
    ids=["expired", "another name", "another address"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
def test_what_is_wrong_with_a_certificate_is_named(tmp_path, certificate, host, said, cure):
    broker = Broker(tmp_path, **certificate)
    broker.up()
    try:
        if "days" in certificate:
            time.sleep(1.1)  # the time on a certificate has no fractions
        own = settings(broker, "t9").model_copy(update={"broker": f"mqtts://{host}:{broker.port}"})
        with pytest.raises(BrokerError) as caught:
            check_broker(own, PASSWORD)
    finally:
        broker.down()
    expected = f"The broker {own.broker} cannot be used: the certificate of {host}:{broker.port} {said}"
    assert str(caught.value).startswith(expected)
    assert caught.value.cure.startswith(cure)
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()  # paho leaves its socket to the collector


@needs_broker
def test_killed_at_any_moment(running, path):
    """What was announced before a kill is in the record, and all of that arrives, each under one id."""
    with Subscriber(running, "t5/b1") as subscriber:
        arguments = [path, "10", "7", running.url, running.folder / "ca.pem", USER]
        done = subprocess.run(
            [sys.executable, HERE / "kill_sender.py", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=HERE.parents[3],
            env={**os.environ, PASSWORD_VARIABLE: PASSWORD, "PYTHONPATH": str(HERE.parents[3])},
        )
        assert done.returncode == 0, done.stderr
        announced = json.loads(done.stdout)
        outbox, recorder = recording(path)
        with Publisher(outbox, settings(running, "t5", inflight=200, flush_s=20), PASSWORD), recorder:
            assert wait_for(
                lambda: set(ids_in(path)) <= {one["id"] for one in subscriber.of("defect", "event")}
            )
        lost = [one for one in subscriber.of("status") if one["state"] == "lost"]
    messages = {one["id"]: one for one in subscriber.of("defect", "event")}
    recorded = ids_in(path)
    assert len(recorded) == len(set(recorded))
    assert set(announced) <= set(recorded)
    assert len(announced) > 10
    assert set(messages) == set(recorded)
    places = [one["start_m"] for one in messages.values() if "start_m" in one]
    assert len(places) == len(set(places))  # no defect under two ids
    assert lost  # the last will
    assert waiting(path) == []


def test_a_record_from_before_there_was_an_outbox(path):
    with RollRecorder(path, RollHead("loom", "0" * 64, {}, "R1")) as recorder:
        recorder.event("x", "y")
        recorder.add([defect(0.1)], Coverage(), None)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE outbox")
        db.execute("DROP TABLE event_data")
    assert [event.kind for event in read_roll(path, "R1").events] == ["x"]
    with recording(path)[1]:
        pass
    assert [row.fields["kind"] for row in waiting(path)] == ["roll interrupted", "roll continued"]

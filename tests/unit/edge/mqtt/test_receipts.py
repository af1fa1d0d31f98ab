"""Receipts of the office: what is lost is sent again, what is away is asked for seldom."""

from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace

import pytest

from edge.cloth.coverage import Coverage
from edge.config.mqtt import MqttSettings
from edge.mqtt.outgoing import receipt_name, receipts_of
from edge.mqtt.receipts import Receipts
from edge.roll.outbox import OutboxReader
from tests.unit.edge.mqtt.test_mqtt import defect, recording

SETTINGS = MqttSettings(broker="mqtt://h", box="b1", receipts=True, receipt_s=10.0)


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def reader(tmp_path):
    """A record whose five messages the broker has, and the office has not said to have."""
    recorder = recording(tmp_path / "rolls.db")[1]
    with recorder:
        recorder.add([defect(n) for n in range(4)], Coverage(), None)
    with closing(OutboxReader(tmp_path / "rolls.db")) as reader:
        reader.sent([row.number for row in reader.after(0, 100)], awaits_receipt=True)
        yield reader


def connection(version=5, code=1):
    return SimpleNamespace(
        says_what_it_denies=version == 5, subscribed={1: code}, received=[], subscribe=lambda topic: 1
    )


def said(names):
    return json.dumps({"version": 1, "stored": names}).encode()


def waiting(reader):
    return [row.event_id for row in reader.after(0, 100)]


def test_what_is_stored_is_forgotten_and_what_was_overtaken_is_queued_again(reader):
    rows = reader._db.execute("SELECT number, event_id FROM outbox_sent ORDER BY number").fetchall()
    names = [f"{number} {event_id}" for number, event_id in rows]
    receipts, broker = Receipts(SETTINGS, Clock()), connection()
    receipts.connected(broker)
    broker.received += [
        ("loomsight/b1/stored", said([names[0], names[3]])),
        ("loomsight/b2/stored", said(names)),
    ]
    receipts.collect(broker)
    receipts.apply(reader)
    assert waiting(reader) == [rows[1][1], rows[2][1]]
    assert reader.awaiting_receipts() == 1
    assert receipts.sent_again == 2


def test_probes_come_seldom_and_seldomer_until_a_receipt_comes(reader):
    clock = Clock()
    receipts, broker = Receipts(SETTINGS, clock), connection()
    receipts.connected(broker)
    probed = []
    while clock.now_s < 600:
        before = len(waiting(reader))
        receipts.apply(reader)
        if len(waiting(reader)) > before:
            probed.append(clock.now_s)
            reader.sent([row.number for row in reader.after(0, 100)], awaits_receipt=True)
        clock.now_s += 1.0
    assert probed == [10, 30, 70, 150, 310]
    assert reader.awaiting_receipts() == 5


def test_without_receipts_in_mqtt_3_1_1_or_without_leave_messages_wait_for_none():
    off = Receipts(MqttSettings(broker="mqtt://h"))
    off.connected(connection())
    assert (off.is_on, off.why_off) == (False, "")
    old = Receipts(SETTINGS)
    old.connected(connection(version=4))
    assert not old.is_on
    assert "3.1.1" in old.why_off
    denied, broker = Receipts(SETTINGS), connection(code=0x87)
    denied.connected(broker)
    denied.collect(broker)
    assert not denied.is_on
    assert "loomsight/b1/stored" in denied.why_off


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", said(["x"]), said(["-1 a"]), said(["9" * 30 + " a"]), b'{"stored": 3}', b"\xff"],
)
def test_nonsense_is_no_receipt(payload):
    assert receipts_of(payload) == []


def test_the_name_of_a_message_is_read_back():
    row = SimpleNamespace(number=57, event_id="5f0c")
    assert receipts_of(said([receipt_name(row)])) == [(57, "5f0c")]

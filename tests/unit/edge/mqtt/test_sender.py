"""The sender with what a plant does to it: access lists, old brokers, copied cards, damaged records."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from edge.cloth.coverage import Coverage
from edge.config.mqtt import PASSWORD_VARIABLE, MqttSettings
from edge.core.errors import BrokerError
from edge.mqtt import lanes
from edge.mqtt.check import check_broker
from edge.mqtt.publisher import Publisher
from edge.mqtt.reports import SHORT_ONES
from edge.roll.database import SIDE_FILES
from edge.roll.outbox import OutboxReader
from tests import processes
from tests.hostile.commands import outcome_of
from tests.patience import wait_for
from tests.unit.edge.mqtt.broker import PASSWORD, USER, Broker, Subscriber
from tests.unit.edge.mqtt.scripted import CLOSE, THROWN_AWAY, Script, ScriptedBroker
from tests.unit.edge.mqtt.test_misbehaviours import quick as quick
from tests.unit.edge.mqtt.test_misbehaviours import record_some, rows, said_by, settings
from tests.unit.edge.mqtt.test_mqtt import defect, ids_in, needs_broker, recording
from tests.unit.edge.mqtt.test_mqtt import settings as tls_settings

TAKEN = ("status", "event", "stop", "gap", "verdict", "roll")
DENIED = f"user {USER}\n" + "".join(f"topic write +/+/{topic}\n" for topic in TAKEN) + "topic read #\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rolls.db"


@pytest.fixture
def guarded(tmp_path):
    """A mosquitto whose access list denies defects."""
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "acl").write_text(DENIED, encoding="utf-8")
    (folder / "acl").chmod(0o644)
    broker = Broker(folder, f"acl_file {folder}/acl\n")
    broker.up()
    yield broker
    broker.down()


loomsight = partial(processes.loomsight, env={PASSWORD_VARIABLE: PASSWORD})


def changed(path, *statements):
    with closing(sqlite3.connect(path, timeout=10)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


@needs_broker
def test_what_the_access_list_denies_stays_is_said_and_goes_once_it_is_permitted(
    guarded, path, monkeypatch
):
    monkeypatch.setattr(lanes, "FIRST_PAUSE_S", 0.2)
    outbox, recorder = recording(path)
    with Subscriber(guarded, "acl/b1") as subscriber:
        settings = MqttSettings(
            broker=guarded.plain_url, prefix="acl", user=USER, box="b1", longest_pause_s=1.0
        )
        publisher = Publisher(outbox, settings, PASSWORD)
        with recorder, publisher:
            record_some(recorder)
            assert wait_for(lambda: len(subscriber.of("event", "stop")) >= 2)
            assert wait_for(lambda: "refuses acl/b1/defect: Not authorized" in said_by(publisher))
            assert wait_for(lambda: len(rows(path, "outbox")) == 6)  # the defects, and nothing else
            assert subscriber.of("defect") == []
            assert [event.kind for event in publisher.events()] == ["messages refused"]
            (guarded.folder / "acl").write_text(f"user {USER}\ntopic readwrite #\n", encoding="utf-8")
            guarded.reload()
            assert wait_for(lambda: len(subscriber.of("defect")) == 6)
            assert wait_for(lambda: rows(path, "outbox") == [])
        assert said_by(publisher) == "the broker cannot be reached: None" or not publisher.warnings()
        assert [event.kind for event in publisher.events()] == ["messages accepted"]
        assert [one["id"] for one in subscriber.of("defect", "event", "stop")][-6:] == ids_in(path)[:6]


@needs_broker
def test_check_beside_a_run_names_each_denied_topic_and_leaves_the_run_alone(guarded, path, tmp_path):
    (tmp_path / "box.toml").write_text(
        f'[mqtt]\nbroker = "{guarded.url}"\nuser = "{USER}"\nca_file = "{guarded.folder}/ca.pem"\n'
        'prefix = "side"\nbox = "b1"\n',
        encoding="utf-8",
    )
    outbox, recorder = recording(path)
    with Subscriber(guarded, "side/b1") as subscriber:
        publisher = Publisher(outbox, tls_settings(guarded, "side", flush_s=0.0), PASSWORD)
        with recorder, publisher:
            assert wait_for(lambda: publisher.is_connected and subscriber.of("status"))
            denied = loomsight("mqtt", "check", "--config", tmp_path / "box.toml")
            assert (denied.returncode, denied.stdout) == (BrokerError.exit_code, "")
            assert "denies side/b1/defect (Not authorized). Let user 'box1'" in denied.stderr
            assert "event" not in denied.stderr
            logged_in = loomsight("mqtt", "check", "--no-publish", "--config", tmp_path / "box.toml")
            assert logged_in.returncode == 0
            recorder.event("camera silent", "10 s")
            recorder.add([], Coverage(), None)
            assert wait_for(
                lambda: [one["kind"] for one in subscriber.of("event")] == ["check", "camera silent"]
            )
            assert [one["state"] for one in subscriber.of("status")] == ["running", "check"]
            assert publisher.is_connected


@needs_broker
def test_two_devices_of_one_name_are_named_as_the_probable_cause(guarded, tmp_path):
    def other(name):
        (tmp_path / name).mkdir()
        return recording(tmp_path / name / "rolls.db")

    (first, one), (second, two) = other("1"), other("2")
    own = tls_settings(guarded, "twins", flush_s=0.0)
    publishers = Publisher(first, own, PASSWORD), Publisher(second, own, PASSWORD)
    with one, two, publishers[0], publishers[1]:
        assert wait_for(lambda: all("same mqtt.box" in said_by(one) for one in publishers))
    kinds = [event.kind for one in publishers for event in one.events()]
    assert kinds.count("broker name in use") == 2


def test_a_broker_that_cuts_at_a_message_without_an_answer_is_no_second_device(path, monkeypatch):
    monkeypatch.setattr(lanes, "FIRST_PAUSE_S", 0.1)
    outbox, recorder = recording(path)
    script = Script(publish=lambda topic, message: CLOSE if topic == "defect" else 0)
    with ScriptedBroker(script) as broker:
        publisher = Publisher(outbox, settings(broker, flush_s=0.0, longest_pause_s=1.0))
        with recorder, publisher:
            record_some(recorder)
            assert wait_for(lambda: len(broker.connections) > 2 * SHORT_ONES)
        assert "same mqtt.box" not in said_by(publisher)
        assert "broker name in use" not in {event.kind for event in publisher.events()}


def test_a_broker_of_mqtt_3_1_1_gets_all_and_it_is_said_that_it_denies_unseen(path, caplog):
    caplog.set_level(logging.INFO)
    outbox, recorder = recording(path)
    for cuts in (False, True):
        script = Script(versions=(4,), cuts_unknown_versions=cuts)
        with ScriptedBroker(script) as broker:
            assert "lost unseen" in check_broker(settings(broker), None)
    with ScriptedBroker(script) as broker, recorder, Publisher(outbox, settings(broker, flush_s=5.0)):
        record_some(recorder)
        assert wait_for(lambda: set(broker.ids("defect", "event", "stop")) == set(ids_in(path)))
    assert broker.connections == [5, 4, 5, 4]
    assert "acknowledges what it denies" in caplog.text


def test_a_broker_of_mqtt_5_that_cuts_once_is_not_taken_for_an_old_one(path):
    cuts = iter([CLOSE])
    with ScriptedBroker(Script(connect=lambda: next(cuts, 0))) as broker:
        assert "lost unseen" not in check_broker(settings(broker), None)
    assert broker.connections[:3] == [5, 4, 5]
    assert set(broker.connections[3:]) == {5}


def test_in_mqtt_3_1_1_check_finds_out_what_is_thrown_away():
    thrown = Script(versions=(4,), publish=lambda topic, _: THROWN_AWAY if topic == "event" else 0)
    with ScriptedBroker(Script(versions=(4,))) as broker:
        taken = "takes messages on defect, event, stop, gap, verdict, roll, status"
        assert taken in check_broker(settings(broker), None)
    with (
        ScriptedBroker(thrown) as broker,
        pytest.raises(BrokerError, match=r"denies loomsight/b1/event .acknowledged, and it did not come"),
    ):
        check_broker(settings(broker, timeout_s=0.5), None)


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        ("mqtt://no-such-host.invalid", r"name no-such-host.invalid is not known|no name server answers"),
        ("mqtt://127.0.0.1:1", "127.0.0.1:1 refuses connections"),
    ],
)
def test_an_unknown_name_and_a_refusal_are_told_apart(broker, said):
    with pytest.raises(BrokerError, match=said):
        check_broker(MqttSettings(broker=broker, timeout_s=2.0), None)


def test_silence_is_told_from_both():
    script = Script(connect=lambda: None)
    with (
        ScriptedBroker(script) as broker,
        pytest.raises(BrokerError, match=r"and then says nothing for 0\.3 s"),
    ):
        check_broker(settings(broker, timeout_s=0.3), None)


@pytest.mark.parametrize("host", ["mill..lan", "10.0.0..5", "a b", "[::1", "x" * 64, "mill_1", "1.2.3"])
def test_a_host_that_cannot_be_is_refused_as_a_setting(host, tmp_path):
    done = outcome_of(["mqtt", "check", "--mqtt", f"mqtt://{host}"], tmp_path)
    assert (done.code, done.stderr.count("\n")) == (10, 1), done.stderr
    assert "mqtt.broker" in done.stderr


DAMAGES = {
    "names nothing": "DELETE FROM defects WHERE start_m = 0.2",
    "a number that is none": "UPDATE defects SET start_m = 9e999 WHERE start_m = 0.2",
    "another type": "UPDATE defects SET points = 'many' WHERE start_m = 0.2",
    "bytes for text": "UPDATE defects SET class_name = x'ff00fe' WHERE start_m = 0.2",
    "a score beyond 1": "UPDATE defects SET score = 7 WHERE start_m = 0.2",
    "data that is no JSON": "INSERT INTO event_data SELECT event_id, '{' FROM events LIMIT 1",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_row_is_set_aside_and_counted_and_all_others_go(damage, path):
    outbox, recorder = recording(path)
    with recorder:
        record_some(recorder)
    changed(path, DAMAGES[damage])
    waiting = set(rows(path, "outbox"))
    with ScriptedBroker() as broker:
        publisher = Publisher(outbox, settings(broker))
        with publisher:
            assert wait_for(lambda: rows(path, "outbox") == [])
            bad = rows(path, "outbox_set_aside")
            assert len(bad) == publisher.unsendable == 1
            assert set(broker.ids("defect", "event", "stop", "roll")) | set(bad) == waiting
            assert "1 row of the outbox cannot be sent" in said_by(publisher)
            assert [event.kind for event in publisher.events()] == ["message set aside"]


FAULTS = {
    "the outbox is gone": ("ALTER TABLE outbox RENAME TO hidden", "ALTER TABLE hidden RENAME TO outbox"),
    "a column is gone": (
        "ALTER TABLE defects RENAME COLUMN score TO hidden",
        "ALTER TABLE defects RENAME COLUMN hidden TO score",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_record_that_cannot_be_read_for_a_while_loses_nothing(fault, path):
    outbox, recorder = recording(path)
    with recorder:
        record_some(recorder)
    with ScriptedBroker() as broker:
        changed(path, FAULTS[fault][0])
        publisher = Publisher(outbox, settings(broker))
        with publisher:
            assert wait_for(lambda: "outbox cannot be used now" in said_by(publisher))
            changed(path, FAULTS[fault][1])
            assert wait_for(lambda: set(broker.ids("defect", "event", "stop")) == set(ids_in(path)))
            assert wait_for(lambda: rows(path, "outbox") == [])
            assert wait_for(lambda: publisher.warnings() == [])


def test_a_locked_record_loses_nothing(path):
    outbox, recorder = recording(path)
    with recorder:
        record_some(recorder)
    with ScriptedBroker() as broker, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with Publisher(outbox, settings(broker)) as publisher:
            assert wait_for(lambda: "outbox cannot be used now" in said_by(publisher))
            other.execute("ROLLBACK")
            other.close()
            assert wait_for(lambda: set(broker.ids("defect", "event", "stop")) == set(ids_in(path)))
            assert wait_for(lambda: rows(path, "outbox") == [])


def test_a_record_that_is_replaced_is_sent_from_its_first_row(path, tmp_path):
    outbox, recorder = recording(path)
    with recorder:
        record_some(recorder)
    (tmp_path / "new").mkdir()
    with recording(tmp_path / "new" / "rolls.db")[1] as other:
        other.event("x", "y")
        other.add([defect(7.0)], Coverage(), None)
    with ScriptedBroker() as broker, Publisher(outbox, settings(broker)):
        assert wait_for(lambda: set(broker.ids("defect", "event", "stop")) == set(ids_in(path)))
        assert wait_for(lambda: rows(path, "outbox") == [])
        for side in SIDE_FILES:
            if Path(f"{path}{side}").exists():
                shutil.move(f"{path}{side}", f"{path}.moved{side}")
        shutil.move(tmp_path / "new" / "rolls.db", path)
        assert wait_for(lambda: set(ids_in(path)) <= set(broker.ids("defect", "event", "stop")))
        assert wait_for(lambda: rows(path, "outbox") == [])


@pytest.mark.parametrize("question", ["after", "depth", "sent", "set_aside"])
@pytest.mark.parametrize(
    "error", [sqlite3.DatabaseError, sqlite3.InterfaceError, sqlite3.IntegrityError, MemoryError, OSError]
)
def test_errors_of_the_database_in_the_sender_end_no_thread(question, error, path, monkeypatch):
    """Each question fails three times with an error that SQLite or the system may raise, then works."""
    failures, works = iter([error("injected")] * 3), getattr(OutboxReader, question)

    def failing(self, *arguments, **named):
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return works(self, *arguments, **named)

    monkeypatch.setattr(OutboxReader, question, failing)
    monkeypatch.setattr("edge.mqtt.publisher.RECORD_PAUSE_S", 0.05)
    monkeypatch.setattr(Publisher, "_pause", lambda self, seconds: self._end.wait(0.02))
    outbox, recorder = recording(path)
    with recorder:
        record_some(recorder)
    changed(path, "DELETE FROM defects WHERE start_m = 0.2")
    waiting = set(rows(path, "outbox"))
    with ScriptedBroker() as broker, Publisher(outbox, settings(broker)) as publisher:
        assert wait_for(lambda: next(failures, None) is None and rows(path, "outbox") == [])
        assert publisher._thread.is_alive()
        aside = set(rows(path, "outbox_set_aside"))
        assert len(aside) == 1
        assert set(broker.ids("defect", "event", "stop", "roll")) == waiting - aside


def test_old_messages_that_wait_do_not_fill_the_outbox(path):
    recorder = recording(path, most_waiting=4)[1]
    with recorder:
        recorder.add([defect(n) for n in range(3)], Coverage(), None)
        changed(path, "DELETE FROM outbox WHERE number IN (2, 3)")  # the first one is refused, others went
        recorder.add([defect(n) for n in range(3, 8)], Coverage(), None)
        assert len(rows(path, "outbox")) == 4


def test_a_status_that_was_refused_is_a_warning_until_the_broker_takes_it(path):
    outbox, recorder = recording(path)
    refusing = Script(publish=lambda topic, message: 0x87 if topic == "status" else 0)
    with ScriptedBroker(refusing) as broker, recorder, Publisher(outbox, settings(broker)) as publisher:
        assert wait_for(lambda: "refuses loomsight/b1/status: Not authorized" in said_by(publisher))
        broker.script = Script()
        broker.drop()
        assert wait_for(lambda: publisher.is_connected and publisher.warnings() == [])


def test_what_is_recorded_just_before_the_end_is_sent_by_this_run(path, tmp_path):
    for number in range(3):
        path = tmp_path / f"rolls{number}.db"
        outbox, recorder = recording(path)
        with ScriptedBroker() as broker:
            with Publisher(outbox, settings(broker, flush_s=10.0)) as publisher, recorder:
                record_some(recorder)
                assert wait_for(lambda: broker.taken and not rows(path, "outbox"))  # noqa: B023
                recorder.finish(Coverage(), None, "finished")
                recorder.event("camera silent", "at the very end")
                recorder.add([defect(9.0)], Coverage(), None)
            assert rows(path, "outbox") == []
            assert publisher.depth == 0
            assert set(broker.ids("defect", "event", "stop")) == set(ids_in(path))

"""Brokers that are away, that come and go (a real mosquitto) and that misbehave; errors of the outbox."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bad_day import Day, Place, judged
from bad_device import LOOM, Device, Happened, happened, kinds

from edge.roll.reading import read_rolls
from tests.unit.edge.mqtt.broker import PASSWORD, USER, Broker, Subscriber
from tests.unit.edge.mqtt.misbehaviours import MISBEHAVIOURS
from tests.unit.edge.mqtt.scripted import Script, ScriptedBroker

EVENTS = 10_000
FLAPPING_S = 60.0
AWAY = "broker cannot be reached"
MISBEHAVES_S = 6.0
DATABASE_ERRORS = 200
CAUGHT_UP_S = 120.0
FAILING = """
import random, sqlite3
from edge.roll.outbox import OutboxReader
KINDS = (sqlite3.OperationalError, sqlite3.DatabaseError, sqlite3.IntegrityError, sqlite3.InterfaceError,
         sqlite3.InternalError, sqlite3.ProgrammingError, sqlite3.DataError)
chance, left = random.Random(7), [{count}]
def failing(name):
    works = getattr(OutboxReader, name)
    def call(self, *arguments, **more):
        if left[0] and chance.random() < 0.5:
            left[0] -= 1
            with open({counted!r}, "ab") as counted:
                counted.write(b"x")
            raise chance.choice(KINDS)("injected")
        return works(self, *arguments, **more)
    setattr(OutboxReader, name, call)
for name in ("__init__", "after", "sent", "depth", "close"):
    failing(name)
import edge.mqtt.publisher
edge.mqtt.publisher.RECORD_PAUSE_S = 0.1
"""


@contextmanager
def post(place: Place) -> Iterator[tuple[Broker, Subscriber]]:
    """Have a broker, and a subscriber for whom it keeps messages."""
    folder = place.folder / "broker"
    folder.mkdir()
    broker = Broker(folder)
    broker.up()
    try:
        with Subscriber(broker, "loomsight/b1", lasting="mill") as subscriber:
            time.sleep(2)  # until it has subscribed and the broker has saved that
            yield broker, subscriber
    finally:
        broker.down()


def sending(place: Place, broker: Broker, camera: str, name: str = "box") -> Device:
    """Return a device that sends to a broker."""
    tables = (
        f'[mqtt]\nbroker = "{broker.url}"\nuser = "{USER}"\nca_file = "{broker.folder}/ca.pem"\n'
        'box = "b1"\nlongest_pause_s = 5\nflush_s = 20\n'
    )
    environment = {"LOOMSIGHT_MQTT_PASSWORD": PASSWORD}
    return place.device(camera, name, tables=tables, environment=environment)


def delivered(subscriber: Subscriber) -> list[Happened]:
    """Return what the broker has given, as often as it came."""
    return [
        Happened(
            one["id"],
            f"{one['kind']} {one['detail']} {one['utc']}"
            if "detail" in one
            else f"{one['class_name']} {one['roll_id']} {one['start_m']} {one['end_m']} {one['left_mm']}",
        )
        for one in subscriber.of("defect", "event", "stop")
    ]


def rolls_told(subscriber: Subscriber) -> dict[str, str]:
    """Return the status of each roll, by its id, as the newest message of it has it."""
    return {
        one["id"]: one["status"] for one in sorted(subscriber.of("roll"), key=lambda one: one["revision"])
    }


def all_delivered(day: Day, device: Device, subscriber: Subscriber, most_s: float) -> Day:
    """Wait until all that is recorded has come, and compare: every id, and none under two."""
    recorded, end_s = {one.event_id for one in happened(device.record)}, time.monotonic() + most_s
    rolls = {roll.head["roll_id"]: roll.head["status"] for roll in read_rolls(device.record)}
    while time.monotonic() < end_s:
        if {one.event_id for one in delivered(subscriber)} == recorded and rolls_told(subscriber) == rolls:
            break
        time.sleep(0.5)
    came = delivered(subscriber)
    unique = set(came)
    day.seen += (
        f"; {len(recorded)} recorded, {len(unique)} delivered, {len(came) - len(unique)} of them again"
    )
    day.doubled = len(unique) - len({one.what for one in unique})
    day.expect({one.event_id for one in unique} == recorded, "what was recorded and what came differ")
    day.expect(rolls_told(subscriber) == rolls, "rolls are not told of as they are recorded")
    return day


def a_day_away(place: Place) -> Day:
    """The broker is killed before the run and comes back after 10,000 events."""
    with post(place) as (broker, subscriber):
        broker.down()
        camera = LOOM.replace("live=true,", "").replace("width_px=256", "width_px=512")
        device = sending(place, broker, f"{camera},defects_per_m=4")
        device.start_and_wait()
        device.until(f"{EVENTS} events", lambda: len(happened(device.record)) >= EVENTS, 1500)
        before, begin_s = happened(device.record), time.monotonic()
        waited = {one.event_id for one in before}
        broker.up()
        device.until("what waited", lambda: waited <= {one.event_id for one in delivered(subscriber)}, 300)
        caught_up_s = time.monotonic() - begin_s
        code = device.end()
        day = Day(
            f"the broker is down while {len(before)} events happen, as fast as they can be made",
            f"all delivered {caught_up_s:.0f} s after it came back; "
            f"events: {', '.join(one for one in dict.fromkeys(kinds(device.record)) if 'broker' in one)}",
        )
        day.expect(code == 0, f"exit code {code}")
        day.expect(any(AWAY in said for said in device.said), "/healthz did not say so")
        return judged(all_delivered(day, device, subscriber, 60), device, before)


def flapping(place: Place) -> Day:
    """The broker ends and starts at random for a minute."""
    chance, times = random.Random(7), 0
    with post(place) as (broker, subscriber):
        device = sending(place, broker, f"{LOOM},defects_per_m=4,speed_m_min=6")
        device.start_and_wait()
        end_s = time.monotonic() + FLAPPING_S
        while time.monotonic() < end_s:
            time.sleep(chance.uniform(0.2, 3))
            broker.down(signal.SIGTERM)
            time.sleep(chance.uniform(0.2, 3))
            broker.up()
            times += 1
        before, code = happened(device.record), device.end()
        day = Day(
            f"the broker goes and comes back {times} times in {FLAPPING_S:.0f} s", f"exit code {code}"
        )
        day.expect(code == 0, f"exit code {code}")
        return judged(all_delivered(day, device, subscriber, 60), device, before)


def misbehaving(place: Place) -> Day:
    """A scripted broker misbehaves in each way in turn, then behaves."""
    done = f"a broker misbehaves in {len(MISBEHAVIOURS)} ways, {MISBEHAVES_S:.0f} s each, then behaves"
    with ScriptedBroker() as broker:
        device = sending_to(place, broker, "timeout_s = 1\nacknowledge_s = 2\nlongest_pause_s = 2\n")
        device.start_and_wait()
        unsaid = []
        for name, wrong in MISBEHAVIOURS.items():
            device.said.clear()
            broker.script = wrong.make()
            broker.drop()
            time.sleep(MISBEHAVES_S)
            if not any("broker" in said or "messages of" in said for said in device.said):
                unsaid.append(name)
        broker.script = Script()
        broker.drop()
        return _ended(
            Day(done, f"not said by /healthz or page: {', '.join(unsaid) or 'none'}"), device, broker
        )


def failing_outbox(place: Place) -> Day:
    """Each kind of error of SQLite is raised in the sender, at random questions."""
    with ScriptedBroker() as broker:
        counted = place.folder / "raised"
        before = FAILING.format(count=DATABASE_ERRORS, counted=str(counted))
        device = sending_to(place, broker, "longest_pause_s = 2\n", before)
        device.start_and_wait()
        device.until(
            "all errors", lambda: counted.exists() and len(counted.read_bytes()) >= DATABASE_ERRORS, 600
        )
        day = Day(f"{DATABASE_ERRORS} database errors raised in the sender, of seven kinds", "")
        return _ended(day, device, broker)


def sending_to(place: Place, broker: ScriptedBroker, settings: str, before: str = "") -> Device:
    """Return a device that sends to a scripted broker."""
    tables = f'[mqtt]\nbroker = "{broker.url}"\nbox = "b1"\nflush_s = 20\n{settings}'
    return place.device(f"{LOOM},defects_per_m=4,speed_m_min=6", tables=tables, before=before)


def _ended(day: Day, device: Device, broker: ScriptedBroker) -> Day:
    """Wait until nothing is left to send, end the run, and account for every message."""
    end_s = time.monotonic() + CAUGHT_UP_S
    while time.monotonic() < end_s and not {one.event_id for one in happened(device.record)} <= set(
        broker.ids("defect", "event", "stop")
    ):
        time.sleep(0.5)
    before, code = happened(device.record), device.end()
    came = broker.ids("defect", "event", "stop")
    recorded = {one.event_id for one in happened(device.record)}
    again = len(came) - len(set(came))
    day.seen = "; ".join(
        part
        for part in (day.seen, f"{len(recorded)} recorded, {len(set(came))} delivered, {again} again")
        if part
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(set(came) == recorded, f"{len(recorded - set(came))} messages did not come")
    day.expect(not any("is dead" in said for said in device.said), "a thread died")
    day.expect("none" in day.seen or "not said" not in day.seen, "a misbehaviour was not said")
    return judged(day, device, before)


BROKER_DAYS = {
    "broker-away": a_day_away,
    "broker-flapping": flapping,
    "broker-misbehaves": misbehaving,
    "broker-outbox-fails": failing_outbox,
}

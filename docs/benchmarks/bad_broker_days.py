"""A broker that is away while ten thousand events happen, and one that comes and goes: a real mosquitto."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bad_box import LOOM, Box, Happened, happened, kinds
from bad_day import Day, Place, judged

from tests.unit.edge.mqtt.broker import PASSWORD, USER, Broker, Subscriber

EVENTS = 10_000
FLAPPING_S = 60.0
AWAY = "broker cannot be reached"


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


def sending(place: Place, broker: Broker, camera: str, name: str = "box") -> Box:
    """Return a box that sends to a broker."""
    tables = (
        f'[mqtt]\nbroker = "{broker.url}"\nuser = "{USER}"\nca_file = "{broker.folder}/ca.pem"\n'
        'box = "b1"\nlongest_pause_s = 5\nflush_s = 20\n'
    )
    environment = {"LOOMSIGHT_MQTT_PASSWORD": PASSWORD}
    return place.box(camera, name, tables=tables, environment=environment)


def delivered(subscriber: Subscriber) -> list[Happened]:
    """Return what the broker has given, as often as it came."""
    return [
        Happened(
            one["id"],
            f"{one['kind']} {one['detail']} {one['utc']}"
            if "kind" in one
            else f"{one['class_name']} {one['roll_id']} {one['start_m']} {one['end_m']} {one['left_mm']}",
        )
        for one in subscriber.of("defect", "event", "stop")
    ]


def all_delivered(day: Day, box: Box, subscriber: Subscriber, most_s: float) -> Day:
    """Wait until all that is recorded has come, and compare: every id, and none under two."""
    recorded, end_s = {one.event_id for one in happened(box.record)}, time.monotonic() + most_s
    while {one.event_id for one in delivered(subscriber)} != recorded and time.monotonic() < end_s:
        time.sleep(0.5)
    came = delivered(subscriber)
    unique = set(came)
    day.seen += (
        f"; {len(recorded)} recorded, {len(unique)} delivered, {len(came) - len(unique)} of them again"
    )
    day.doubled = len(unique) - len({one.what for one in unique})
    day.expect({one.event_id for one in unique} == recorded, "what was recorded and what came differ")
    return day


def a_day_away(place: Place) -> Day:
    """The broker is killed before the run and comes back after 10,000 events."""
    with post(place) as (broker, subscriber):
        broker.down()
        camera = LOOM.replace("live=true,", "").replace("width_px=256", "width_px=512")
        box = sending(place, broker, f"{camera},defects_per_m=4")
        box.start_and_wait()
        box.until(f"{EVENTS} events", lambda: len(happened(box.record)) >= EVENTS, 1500)
        before, begin_s = happened(box.record), time.monotonic()
        broker.up()
        box.until("what waited", lambda: len(subscriber.of("defect", "event")) >= len(before), 300)
        caught_up_s = time.monotonic() - begin_s
        code = box.end()
        day = Day(
            f"the broker is down while {len(before)} events happen, as fast as they can be made",
            f"all delivered {caught_up_s:.0f} s after it came back; "
            f"events: {', '.join(kind for kind in dict.fromkeys(kinds(box.record)) if 'broker' in kind)}",
        )
        day.expect(code == 0, f"exit code {code}")
        day.expect(any(AWAY in said for said in box.said), "/healthz did not say so")
        return judged(all_delivered(day, box, subscriber, 60), box, before)


def flapping(place: Place) -> Day:
    """The broker ends and starts at random for a minute."""
    chance, times = random.Random(7), 0
    with post(place) as (broker, subscriber):
        box = sending(place, broker, f"{LOOM},defects_per_m=4,speed_m_min=6")
        box.start_and_wait()
        end_s = time.monotonic() + FLAPPING_S
        while time.monotonic() < end_s:
            time.sleep(chance.uniform(0.2, 3))
            broker.down(signal.SIGTERM)
            time.sleep(chance.uniform(0.2, 3))
            broker.up()
            times += 1
        before, code = happened(box.record), box.end()
        day = Day(
            f"the broker goes and comes back {times} times in {FLAPPING_S:.0f} s", f"exit code {code}"
        )
        day.expect(code == 0, f"exit code {code}")
        return judged(all_delivered(day, box, subscriber, 60), box, before)


BROKER_DAYS = {"broker-away": a_day_away, "broker-flapping": flapping}

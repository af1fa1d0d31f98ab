"""Kills at any moment, a wall clock that jumps, an end under load, settings that become nonsense."""

from __future__ import annotations

import os
import random
import signal
import time

from bad_broker_days import all_delivered, post, sending
from bad_clock import JUMPING
from bad_day import Day, Place, judged
from bad_device import ILL, LOOM, Happened, happened, kinds

from edge.core.errors import ConfigError
from edge.roll.reading import read_rolls

CAMERA = f"{LOOM},defects_per_m=4,speed_m_min=6"


def kills(place: Place) -> Day:
    """Kill -9 at random moments: in turn from the start on, and while inspecting; a last run in peace."""
    chance, acknowledged, seen = random.Random(11), set[Happened](), 0
    with post(place) as (broker, subscriber):
        device = sending(place, broker, CAMERA)
        begin_s = time.monotonic()
        device.start_and_wait()
        longest_s = 2 * (time.monotonic() - begin_s)
        for number in range(place.kills):
            if number:
                device.start_and_wait() if number % 2 else device.start()
                time.sleep(chance.uniform(0.0, 3.0 if number % 2 else longest_s))
            now = happened(device.record)
            seen += len(set(now) - acknowledged)
            acknowledged |= set(now)
            came = {one["id"] for one in subscriber.of("defect", "event", "stop")}
            device.kill()
            lost = came - {one.event_id for one in happened(device.record)}
            if lost:
                raise AssertionError(f"{len(lost)} were delivered and are not recorded after kill {number}")
        device.start_and_wait()
        device.more_frames(20)
        code = device.end()
        rolls = [roll.head["status"] for roll in read_rolls(device.record)]
        day = Day(
            f"kill -9, {place.kills} times at random: in turn within {longest_s:.1f} s of the start, "
            "and within 3 s of the first frame",
            f"{len(rolls)} rolls, {rolls.count('interrupted')} interrupted; exit code {code} at last",
        )
        day.expect(code == 0, f"exit code {code}")
        day.expect("running" not in rolls, "a roll was left open")
        return judged(all_delivered(day, device, subscriber, 120), device, sorted(acknowledged))


def clock_jumps(place: Place) -> Day:
    """The wall clock goes forward by a year, then back to a year ago."""
    device = place.device(CAMERA, before=JUMPING)
    device.start_and_wait()
    for how in (signal.SIGUSR1, signal.SIGUSR2):
        device.more_frames(30)
        before, begin_s = happened(device.record), time.monotonic()
        os.kill(device.pid, how)
        device.more_frames(30)
        stood_s = time.monotonic() - begin_s
    code, summary, told = device.end(), device.summary(), kinds(device.record)
    years = sorted({roll.utc[:4] for one in read_rolls(device.record) for roll in one.defects})
    day = Day(
        "the wall clock jumps to the next year, then to the last",
        f"{summary['frames']} frames in {summary['seconds']:.0f} s, the last 30 within {stood_s:.1f} s; "
        f"coverage {summary['coverage']}; defects dated {', '.join(years)}; "
        f"events: {', '.join(dict.fromkeys(told)) or 'none'}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(len(years) == 3, "the clock did not jump")
    day.expect(not {"camera down", "camera silent"} & set(told), "a jump was taken for a silent camera")
    day.expect(not [said for said in device.said if said.startswith(ILL)], "/healthz called it ill")
    return judged(day, device, before)


def terminated(place: Place) -> Day:
    """SIGTERM while the device is overrun and the broker is away."""
    with post(place) as (broker, _):
        broker.down()
        device = sending(place, broker, f"{LOOM},defects_per_m=4,speed_m_min=600")
        device.start_and_wait()
        device.until("an overrun", lambda: any("Too fast" in said for said in device.said), 30)
        before, begin_s = happened(device.record), time.monotonic()
        code = device.end()
        took_s = time.monotonic() - begin_s
    summary, (roll,) = device.summary(), read_rolls(device.record)
    day = Day(
        "SIGTERM while cloth passes at 600 m/min and the broker is away (flush_s = 20)",
        f"exit code {code} after {took_s:.1f} s, roll {roll.head['status']}, "
        f"coverage {summary['coverage']:.2f}, {summary['dropped']} frames dropped",
    )
    lines = summary["lines"]
    day.expect(code == 0, f"exit code {code}")
    day.expect(roll.head["status"] == "finished", "the roll was not finished")
    day.expect(lines["passed"] == roll.head["passed_lines"], "summary and record differ")
    day.expect(took_s < 30, "the end took too long")
    return judged(day, device, before)


def nonsense_settings(place: Place) -> Day:
    """The file of settings becomes nonsense while running; the next start refuses it."""
    device = place.device(CAMERA)
    device.start_and_wait()
    good = device.config.read_text(encoding="utf-8")
    device.config.write_text('camera = 17\nfrozen_s = "soon"\n[stop\n\0', encoding="utf-8")
    device.more_frames(30)
    before, code = happened(device.record), device.end()
    device.start()
    refused = device.wait()
    last = [line.strip() for line in device.log if line.startswith("error:")]
    device.config.write_text(good, encoding="utf-8")
    device.start_and_wait()
    again = device.end()
    day = Day(
        "the file of settings becomes nonsense while running; a start with it; a start with the old one",
        f"the run went on, exit code {code}; then {refused}, {len(last)} line of error; then {again}",
    )
    day.expect(code == again == 0, f"exit codes {code} and {again}")
    day.expect(refused == ConfigError.exit_code and len(last) == 1, "nonsense was not refused in one line")
    return judged(day, device, before)


PROCESS_DAYS = {
    "kills": kills,
    "clock-jumps": clock_jumps,
    "sigterm": terminated,
    "settings": nonsense_settings,
}

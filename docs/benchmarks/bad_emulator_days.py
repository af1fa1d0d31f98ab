"""Real camera libraries with failures made on purpose: pylon's emulator, and Aravis' fake GigE camera."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_day import Day, Place, judged
from bad_device import Device, happened, kinds

MOST_PLUGGED_IN_S = 40.0
AWAY_S = 8.0
FAILURES = 30
"""Buffers that fail after each opening: fewer than would be called a failure of the camera."""

FAKE = "arv-fake-gv-camera-0.8"
LOST_PER_THOUSAND = 5


def children_of(pid: int, program: str) -> list[int]:
    """Return the processes that a process has started and whose command line holds a word."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in file.read_text(encoding="ascii").split()]
    return [
        child
        for child in found
        if program.encode() in Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
    ]


def inspected_ids(path: Path) -> list[int]:
    """Return the numbers of the frames that were inspected, in their order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["frame_id"] for line in lines]


def unplugged_again_and_again(
    place: Place, device: Device, unplug: Callable[[], None], plug_in: Callable[[], None]
) -> int:
    """Let a device run for the time of the day, and unplug its camera every now and then; return how
    often."""
    plugged_in_s = min(MOST_PLUGGED_IN_S, place.minutes * 60 / 4)
    end_s, times = time.monotonic() + place.minutes * 60, 0
    device.start_and_wait()
    while time.monotonic() < end_s:
        time.sleep(min(plugged_in_s, max(0.0, end_s - time.monotonic())))
        if time.monotonic() + 2 * AWAY_S > end_s:
            break
        unplug()
        times += 1
        time.sleep(AWAY_S)
        plug_in()
        device.until("the camera again", lambda: not device.state()["camera"]["silent_s"], 60)
    time.sleep(max(0.0, end_s - time.monotonic()))
    return times


def pylon(place: Place) -> Day:
    """Pylon's emulator: buffers fail after each opening, and the process of the library is killed."""
    found = place.folder / "detections.jsonl"
    device = place.device(
        f"basler:width=512,height=128,frame_rate_hz=5,forced_failures={FAILURES}",
        settings="queue_frames = 200\n",
        flags=["--detections", str(found)],
        environment={"PYLON_CAMEMU": "1"},
    )

    def unplug() -> None:
        for child in children_of(device.pid, "edge.cameras.child"):
            os.kill(child, signal.SIGKILL)

    times = unplugged_again_and_again(place, device, unplug, lambda: None)
    before = happened(device.record)
    code = device.end()
    summary, openings = device.summary(), times + 1
    counters = summary["camera_counters"]
    day = Day(
        f"{place.minutes:g} min, {openings} times {FAILURES} buffers forced to fail, "
        f"library killed {times} times",
        f"{summary['frames']} inspected; incomplete {counters.get('incomplete')}, "
        f"unreadable {summary['unreadable']}, opened again {counters.get('opened again', 0)}; "
        f"camera away {summary['camera_down_s']} s; coverage {summary['coverage']:.4f}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(counters.get("incomplete") == FAILURES * openings, "incomplete buffers are miscounted")
    day.expect(summary["unreadable"] == FAILURES * openings, "unreadable frames are miscounted")
    day.expect(counters.get("opened again", 0) == times, "openings are miscounted")
    day.expect(kinds(device.record).count("camera back") == times, "not every return is in the record")
    numbers = inspected_ids(found)  # after an opening they go on with the first good frame
    missing = numbers[-1] + 1 - len(numbers) - summary["dropped"]
    day.expect(numbers[0] == missing == FAILURES, f"{missing} frames are missing between those inspected")
    return judged(day, device, before)


class FakeCamera:
    """Aravis' fake GigE Vision camera, which loses packets, and can be unplugged."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def plug_in(self) -> None:
        """Start it."""
        command = [FAKE, "-i", "127.0.0.1", "-r", str(LOST_PER_THOUSAND)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def unplug(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def aravis(place: Place) -> Day:
    """Aravis' fake camera: packets are lost on purpose, and it is unplugged and plugged in again."""
    if shutil.which(FAKE) is None:
        return Day("nothing", f"there is no {FAKE}: apt-get install aravis-tools", problems=["not had"])
    found, fake = place.folder / "detections.jsonl", FakeCamera()
    device = place.device(
        "aravis:serial=127.0.0.1,width=256,height=128,frame_rate_hz=5",
        settings="queue_frames = 200\nsilent_s = 3.0\nwait_for_camera = true\n",
        flags=["--detections", str(found)],
    )
    fake.plug_in()
    try:
        times = unplugged_again_and_again(place, device, fake.unplug, fake.plug_in)
        before = happened(device.record)
        code = device.end()
    finally:
        fake.unplug()
    summary, numbers = device.summary(), inspected_ids(found)
    counters: dict[str, Any] = summary["camera_counters"]
    bad = counters.get("incomplete", 0)
    day = Day(
        f"{place.minutes:g} min, {LOST_PER_THOUSAND / 10:g} % of packets lost, unplugged {times} times "
        f"for {AWAY_S:g} s",
        f"{summary['frames']} inspected; incomplete {bad}, lost {counters.get('lost', 0)}, "
        f"unreadable {summary['unreadable']}, opened again {counters.get('opened again', 0)}; "
        f"camera away {summary['camera_down_s']} s; coverage {summary['coverage']:.4f}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(bad > 0, "no packet was lost: nothing was tried")
    under_way = bad - summary["unreadable"]  # at the end, between the two that count
    day.expect(under_way in range(3), "incomplete buffers and unreadable frames differ")
    day.expect(summary["frames"] == len(numbers) == len(set(numbers)), "a frame was inspected twice")
    missing = numbers[-1] + 1 - len(numbers) - summary["dropped"]
    day.expect(
        bad + counters.get("lost", 0) - missing in range(25),
        f"{missing} frames are missing between those inspected",
    )
    returns = kinds(device.record).count("camera back")  # a busy machine may lose the camera by itself, too
    day.expect(returns >= times, "not every return is in the record")
    return judged(day, device, before)


EMULATOR_DAYS = {"pylon": pylon, "aravis": aravis}

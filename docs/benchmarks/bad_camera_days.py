"""Cameras that are gone, hang, freeze, give nonsense or too much; a loom that stands and runs back."""

from __future__ import annotations

import http.server
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from bad_clock import faster
from bad_day import Day, Place, judged
from bad_device import ILL, LOOM, Device, gap_m, happened, kinds
from bad_emulator_days import children_of

SPEED_M_MIN = 6.0
BLOCKS_PER_S = SPEED_M_MIN / 60 * 1000 / 0.2 / 64
HOUR_BLOCKS = round(3600 * BLOCKS_PER_S)
HOUR_IN_S = 30.0


def loom(faults: str, speed_m_min: float = SPEED_M_MIN) -> str:
    """Return the camera of a loom that fails."""
    return f"{LOOM},defects_per_m=4,speed_m_min={speed_m_min:g},faults={faults}"


def after_frames(place: Place, day: Day, device: Device, frames: int, *expected: str) -> Day:
    """Run a device until so many frames are inspected, look at it, and judge.

    Args:
        expected: kinds of events that have to be in the record.
    """
    device.start_and_wait()
    before = happened(device.record)
    device.until(f"{frames} frames", lambda: device.frames >= frames, 240)
    before += [one for one in happened(device.record) if one not in before]
    code, summary = device.end(), device.summary()
    told = kinds(device.record)
    day.seen = (
        f"{summary['frames']} frames, gaps {gap_m(device.record)}, events: {', '.join(told) or 'none'}"
    )
    day.expect(code == 0, f"exit code {code}")
    for kind in expected:
        day.expect(kind in told, f"no event '{kind}'")
    return judged(day, device, before)


def gone(seconds: float, day: str, most_frames: int) -> Callable[[Place], Day]:
    """Return a day on which the camera is away for so long."""

    def had(place: Place) -> Day:
        blocks = round(seconds * BLOCKS_PER_S)
        device = place.device(loom(f"unplugged@40:{blocks}"), settings="health_frame_s = 20\n")
        result = after_frames(place, Day(day, ""), device, most_frames, "camera down", "camera back")
        away_m = gap_m(device.record).get("camera down", 0.0)
        result.expect(
            away_m >= seconds * SPEED_M_MIN / 60 * 0.9, f"only {away_m} m are a gap of the camera"
        )
        result.expect(any("camera is gone" in said for said in device.said), "the page did not say so")
        if seconds > 30:
            result.expect(any(said.startswith(ILL) for said in device.said), "/healthz did not say so")
        return result

    return had


def gone_at_start(place: Place) -> Day:
    """Without wait_for_camera the run ends with a word; with it, it begins when the camera comes."""
    camera = loom("unplugged@0:80")
    hasty = place.device(camera, "hasty")
    hasty.start()
    code = hasty.wait()
    device = place.device(camera, "patient", settings="wait_for_camera = true\n")
    day = Day("no camera for the first 10 s, without and with wait_for_camera", "")
    after_frames(place, day, device, 40, "camera down", "camera back")
    day.seen = f"without: exit code {code}. With: {day.seen}"
    day.expect(code == 20, f"exit code {code} without waiting")
    day.expect(not hasty.has_traceback, "a traceback was shown")
    return day


def frozen(place: Place) -> Day:
    """One image again and again for 8 seconds; 3 are taken for frozen."""
    device = place.device(loom(f"frozen@40:{round(8 * BLOCKS_PER_S)}"), settings="frozen_s = 3\n")
    day = Day("the same image for 8 s", "")
    after_frames(place, day, device, 90, "camera down", "camera back")
    day.expect(any("stands still" in said for said in device.said), "the page did not say so")
    return day


def nonsense(place: Place) -> Day:
    """Buffers of half the width, half-empty and black ones: some, and then for long."""
    faults = "wrong_size@30:4+half_empty@50:4+black@70:4+half_empty@90:70+wrong_size@190:70"
    device = place.device(loom(faults))
    day = Day("4 frames of half the width, 4 half-empty, 4 black, then 70 half-empty, 70 too narrow", "")
    after_frames(place, day, device, 170, "frames left out", "camera down", "camera back")
    day.expect(any("another size" in said for said in device.said), "the page did not name the size")
    return day


def hangs_in_a_process(place: Place) -> Day:
    """The process of pylon's emulator stands still, as in a call that never returns."""
    device = place.device(
        "basler:width=512,height=128,frame_rate_hz=5,encoder_mm_per_line=0.5",
        settings="mm_per_px = 0.5\n",
        environment={"PYLON_CAMEMU": "1"},
    )
    device.start_and_wait()
    device.more_frames(10)
    before = happened(device.record)
    children = children_of(device.pid, "edge.cameras.child")
    for child in children:
        os.kill(child, signal.SIGSTOP)
    device.until(
        "the camera to be down", lambda: any("does not answer" in said for said in device.said), 30
    )
    device.more_frames(10)
    code, told = device.end(), kinds(device.record)
    gone_now = not any(Path(f"/proc/{child}").exists() for child in children)
    day = Day(
        "the camera's process stands still in a call (SIGSTOP)",
        f"killed and opened again in {device.summary()['camera_down_s']} s; gaps {gap_m(device.record)}, "
        f"events: {', '.join(told)}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect("camera back" in told, "no event 'camera back'")
    day.expect(gone_now, "the process that hung is still there")
    return judged(day, device, before)


class StreamThatHangs(http.server.BaseHTTPRequestHandler):
    """Send fifty images as a network camera does, then nothing, and never close; later ones go on."""

    hangs = True
    goes_on = threading.Event()

    def do_GET(self) -> None:
        """Answer a camera's address."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(100_000):
            if number == 50 and StreamThatHangs.hangs:
                StreamThatHangs.hangs = False
                StreamThatHangs.goes_on.wait(120)
                return
            image = np.random.default_rng(number).integers(60, 180, (64, 128), np.uint8)
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return
            time.sleep(0.2)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def hangs_in_a_thread(place: Place) -> Day:
    """A network stream that stays open and sends nothing: OpenCV's read does not come back."""
    StreamThatHangs.hangs = True
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StreamThatHangs) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        device = place.device(
            f"http://127.0.0.1:{server.server_port}/cam.mjpg?pwd=secret", settings="silent_s = 4\n"
        )
        day = Day("a network camera's read that does not come back", "")
        try:
            after_frames(place, day, device, 80, "camera down", "camera back")
        finally:
            StreamThatHangs.goes_on.set()
            server.shutdown()
    day.expect("secret" not in "".join(device.log), "a password was shown")
    return day


def three_times_too_fast(place: Place) -> Day:
    """Cloth that passes three times as fast as this device inspects it, as measured just before."""
    as_fast_as_it_can = LOOM.replace("live=true,", "") + ",defects_per_m=4"
    slow = place.device(as_fast_as_it_can, "capacity", flags=["--seconds", "8"])
    slow.start()
    slow.wait()
    capacity = slow.summary()["metres_inspected"] / slow.summary()["seconds"] * 60
    speed = min(600.0, 3 * capacity)
    device = place.device(f"{LOOM},defects_per_m=4,speed_m_min={speed:.1f}")
    device.start_and_wait()
    device.until("the page to say so", lambda: any("Too fast" in said for said in device.said), 30)
    time.sleep(15)
    before = happened(device.record)
    code, summary = device.end(), device.summary()
    day = Day(
        f"{speed:.0f} m/min, three times the {capacity:.0f} m/min that this device inspects, for 15 s",
        f"coverage {summary['coverage']:.2f}, {summary['dropped']} frames dropped, gaps "
        f"{gap_m(device.record)}, age p99 {summary['age_ms']['p99']:.0f} ms",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect(summary["gaps_by_reason_m"]["overrun"] > 0, "no gap says overrun")
    day.expect(summary["age_ms"]["p99"] < 2000, "results grow old: a queue grows")
    day.expect(not [said for said in device.said if said.startswith(ILL)], "/healthz called it ill")
    return judged(day, device, before)


def stop_and_reverse(place: Place) -> Day:
    """A loom that stands for an hour, then runs back over 30 blocks and on again."""
    device = place.device(
        loom(f"stop@40:{HOUR_BLOCKS}+reverse@80:30"),
        settings="silent_s = 3600\nhealth_frame_s = 7200\nqueue_frames = 500\n",
        before=faster(3600 / HOUR_IN_S),
    )
    device.start_and_wait()
    device.until("the stop", lambda: device.frames >= 40, 60)
    before = happened(device.record)
    device.until("the loom to stand", lambda: device.state()["camera"]["silent_s"] > 3, 60)
    os.kill(device.pid, signal.SIGUSR1)
    time.sleep(0.99 * HOUR_IN_S)  # the rest of the hour at its own pace: the loom runs again in that
    os.kill(device.pid, signal.SIGUSR2)
    device.until("the loom to run again", lambda: device.frames >= 150, 240)
    code, told = device.end(), kinds(device.record)
    summary = device.summary()
    day = Day(
        "the loom stands for an hour (in 30 s of a simulated clock), then runs back over 0.38 m and on",
        f"{summary['frames']} frames, coverage {summary['coverage']}, gaps {gap_m(device.record)}, "
        f"events: {', '.join(told) or 'none'}",
    )
    day.expect(code == 0, f"exit code {code}")
    day.expect("camera down" not in told, "the camera was blamed for a loom that stands")
    day.expect(summary["coverage"] == 1, "cloth that ran back was not counted once")
    return judged(day, device, before)


CAMERA_DAYS: Mapping[str, Callable[[Place], Day]] = {
    "gone-1s": gone(1, "camera gone for 1 s", 90),
    "gone-1min": gone(60, "camera gone for 1 min", 90),
    "gone-at-start": gone_at_start,
    "hangs-process": hangs_in_a_process,
    "hangs-thread": hangs_in_a_thread,
    "frozen": frozen,
    "nonsense": nonsense,
    "too-fast": three_times_too_fast,
    "stop-reverse": stop_and_reverse,
}

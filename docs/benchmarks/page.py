"""Measure what people at the live page cost inspection.

One edge-run inspects a simulated roll as fast as it can. In turn nobody looks for some seconds, then three
viewers do, each in a process of its own: the stream of states, five images of the cloth a second, and the
roll every two seconds. Frames are counted in the lines that edge-run writes. On a busy machine frames a
second vary with whatever else runs; the processor time that edge-run spends on a frame varies less.

Usage: python docs/benchmarks/page.py ROUNDS SECONDS OUT.json
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

import httpx

VIEWERS = 3
IMAGE_S = 0.2
WARM_S = 8.0
CAMERA = (
    "loom:weave=plain,warp_pitch_px=4,weft_pitch_px=4,mean_grey=120,seed=2026,width_px=2048,defects_per_m=2"
)
"""The roll of `make demo`, endless."""


def view(address: str, end_s: float, seen: Synchronized[int]) -> None:
    """Do what a browser with the page does; count the images."""
    threading.Thread(target=follow, args=(address,), daemon=True).start()
    known: dict[str, str] = {}
    number = 0
    with httpx.Client(base_url=address, timeout=20) as client:
        while time.monotonic() < end_s:
            client.get("/cloth.jpg").raise_for_status()
            if number % 10 == 0:
                known = client.get("/roll", params=known).json()["known"]
            number += 1
            with seen.get_lock():
                seen.value += 1
            time.sleep(IMAGE_S)


def follow(address: str) -> None:
    """Read the stream of states until the process ends."""
    with httpx.stream("GET", f"{address}events", timeout=20) as states:
        for _ in states.iter_lines():
            pass


def frames_in(path: Path) -> int:
    """Count the frames that were written down."""
    return path.read_bytes().count(b"\n")


class Window(NamedTuple):
    """What was measured over some time: frames a second, processor milliseconds a frame."""

    frames_per_s: float
    cpu_ms_per_frame: float


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(pid: int, path: Path, seconds: float) -> Window:
    """Measure over some time from now."""
    frames, used_s, begin_s = frames_in(path), cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    frames, used_s = frames_in(path) - frames, cpu_s(pid) - used_s
    return Window(frames / (time.monotonic() - begin_s), used_s / max(1, frames) * 1000)


def watched(pid: int, address: str, path: Path, seconds: float, seen: Synchronized[int]) -> Window:
    """Measure while three viewers look."""
    end_s = time.monotonic() + seconds + 2.0
    viewers = [multiprocessing.Process(target=view, args=(address, end_s, seen)) for _ in range(VIEWERS)]
    for viewer in viewers:
        viewer.start()
    time.sleep(1.5)  # until they look
    found = measured(pid, path, seconds)
    for viewer in viewers:
        viewer.join()
        if viewer.exitcode:
            sys.exit("a viewer failed")
    return found


def measure(rounds: int, seconds: float) -> dict[str, object]:
    """Run edge-run and look at it in turn."""
    seen: Synchronized[int] = multiprocessing.Value("i", 0)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "detections.jsonl"
        command = [
            sys.executable, "-c", "from edge.commands.run_cli import main; main()", "--camera", CAMERA,
            "--page", "0", "--detections", str(out), "--roll-record", f"{folder}/rolls.db",
            "--save-pictures", f"{folder}/found", "--threads", "1",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            address = process.stderr.readline().split()[1].partition("#")[0]
            while not (out.exists() and frames_in(out)):
                time.sleep(0.2)
            time.sleep(WARM_S)
            pairs = [
                (
                    measured(process.pid, out, seconds),
                    watched(process.pid, address, out, seconds, seen),
                )
                for _ in range(rounds)
            ]
            process.terminate()
            process.communicate()
    return {
        "camera": CAMERA,
        "viewers": VIEWERS,
        "rounds": rounds,
        "seconds": seconds,
        "images_per_viewer_and_s": round(seen.value / VIEWERS / rounds / (seconds + 2.0), 2),
        "load_average": round(os.getloadavg()[0], 2),
    } | {
        name: {
            "alone": [round(getattr(alone, name), 3) for alone, _ in pairs],
            "with_viewers": [round(getattr(looked_at, name), 3) for _, looked_at in pairs],
            "median_ratio": round(
                statistics.median(
                    getattr(looked_at, name) / getattr(alone, name) for alone, looked_at in pairs
                ),
                4,
            ),
        }
        for name in Window._fields
    }


def main() -> None:
    """Print and write the rates and their ratio."""
    rounds, seconds, out = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    result = measure(rounds, seconds)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

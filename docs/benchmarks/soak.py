"""Watch a long run of everything at once: memory, file handles, threads and latency, quarter by quarter.

edge-run inspects an endless simulated roll as fast as it can, with a roll record, images, the live page
with a viewer, metrics that are scraped, and a real mosquitto over TLS. Beside it a probe does the same
piece of work again and again: where the machine is busy with something else, the probe's p99 grows, too.

Usage: PYTHONPATH=. python docs/benchmarks/soak.py MINUTES OUT.json [EDGE-RUN FLAGS]
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import numpy as np

from edge.simulator.options import parse_loom_options
from tests.unit.edge.mqtt.broker import PASSWORD, USER, Broker, Subscriber

CAMERA = (
    "loom:seed=2026,weave=plain,warp_pitch_px=4,weft_pitch_px=4,mean_grey=120,width_px=256,"
    "bed_left_mm=2,bed_right_mm=2,defects_per_m=4,speed_m_min=5"
)
"""A strip as wide as one tile, ten times as fast as a loom weaves."""


EDGE_RUN = [sys.executable, "-c", "from edge.commands.entry import loomsight; loomsight()", "edge-run"]
SAMPLE_S = 2.0
START_S = 180.0
WARM_S = 90.0
WARM_FRACTION = 0.1
"""Left out: so long, or that fraction of a short run: caches fill, the optics learn."""

FINISHED = re.compile(r": frame \d+: \d+ found, ([\d.]+) ms")
MOST_GROWTH = 0.02
MOST_P99 = 1.10


class Sample(NamedTuple):
    """What the process held at a moment; `cpu_s` is what it has used of the processor."""

    at_s: float
    rss_mib: float
    handles: int
    threads: int
    cpu_s: float
    metres: float
    record_mib: float


class Watch:
    """Read what a verbose edge-run says, and keep how long each frame took."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.page = ""
        self.health = ""
        self.latencies: list[tuple[float, float]] = []
        self.warnings: list[str] = []
        self._process = process
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            found = FINISHED.search(line)
            if found:
                self.latencies.append((time.monotonic(), float(found[1])))
            elif line.startswith("page: "):
                self.page = line.split()[1].partition("#")[0]
            elif "health on" in line:
                self.health = re.sub(r".*health on (\S+)/healthz.*\n?", r"\1", line)
            elif "would-be stop" not in line and line.startswith(
                ("WARNING", "ERROR", "error", "Traceback")
            ):
                self.warnings.append(line.strip())


def probe(results: list[tuple[float, float]], stop: threading.Event) -> None:
    """Do one small piece of work twice a second and note how long it took, in milliseconds."""
    work = np.random.default_rng(0).random(200_000)
    while not stop.wait(0.5):
        begin_s = time.perf_counter()
        np.sort(work)
        results.append((time.monotonic(), (time.perf_counter() - begin_s) * 1000))


def look(watch: Watch, stop: threading.Event) -> None:
    """Do what a browser with the page does."""
    known: dict[str, Any] = {}
    while not stop.wait(1.0):
        try:
            for path in ("state", "cloth.jpg"):
                urlopen(watch.page + path, timeout=10).read()
            asked = "&".join(f"{key}={value}" for key, value in known.items())
            known = json.loads(urlopen(f"{watch.page}roll?{asked}", timeout=10).read())["known"]
        except OSError as error:
            watch.warnings.append(f"viewer: {error}")


def metrics(address: str) -> dict[str, float]:
    """Scrape the metrics that have one value."""
    text = urlopen(f"{address}/metrics", timeout=10).read().decode()
    return {name: float(value) for name, value in re.findall(r"^(\w+) ([\d.e+]+)$", text, re.MULTILINE)}


def sample(pid: int, address: str, record: Path) -> Sample:
    """Look at a process."""
    status = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return Sample(
        time.monotonic(),
        int(status[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len([*Path(f"/proc/{pid}/fd").iterdir()]),
        len([*Path(f"/proc/{pid}/task").iterdir()]),
        (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        metrics(address).get("loomsight_metres_inspected", 0.0),
        sum(one.stat().st_size for one in record.parent.glob(f"{record.name}*")) / 2**20,
    )


def run(minutes: float, flags: list[str]) -> tuple[list[Sample], Watch, list[tuple[float, float]], int]:
    """Run edge-run for so long; return samples, what it said, the probe, and how many messages came."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        broker = Broker(folder / "broker")
        broker.up()
        (folder / "box.toml").write_text(
            f'health_port = 0\n[mqtt]\nuser = "{USER}"\nca_file = "{folder}/broker/ca.pem"\nbox = "soak"\n',
            encoding="utf-8",
        )
        record = folder / "record" / "rolls.db"
        command = [
            *EDGE_RUN, "--camera", CAMERA, "--config", f"{folder}/box.toml", "--mqtt", broker.url,
            "--roll-record", str(record), "--save-pictures", f"{folder}/found", "--page", "0",
            "--threads", "1", "--verbose", *flags,
        ]  # fmt: skip
        environment = {**os.environ, "LOOMSIGHT_MQTT_PASSWORD": PASSWORD}
        with Subscriber(broker, "loomsight/soak") as subscriber:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            try:
                return (*followed(process, record, minutes), len(subscriber.of("defect")))
            finally:
                process.kill()
                process.wait()
                broker.down()


def followed(
    process: subprocess.Popen[str], record: Path, minutes: float
) -> tuple[list[Sample], Watch, list[tuple[float, float]]]:
    """Sample a run until its time is over, then end it as systemd does."""
    watch, probed, samples = Watch(process), list[tuple[float, float]](), list[Sample]()
    start_s = time.monotonic()
    while not (watch.health and watch.page and watch.latencies):
        if process.poll() is not None:
            sys.exit(f"edge-run ended: {watch.warnings}")
        if time.monotonic() > start_s + START_S:
            sys.exit(f"after {START_S:g} s: page {watch.page!r}, health {watch.health!r}, no frame's time")
        time.sleep(0.2)
    stop = threading.Event()
    for work in ((probe, probed), (look, watch)):
        threading.Thread(target=work[0], args=(work[1], stop), daemon=True).start()
    end_s = time.monotonic() + minutes * 60
    try:
        while time.monotonic() < end_s and process.poll() is None:
            samples.append(sample(process.pid, watch.health, record))
            time.sleep(SAMPLE_S)
    except KeyboardInterrupt:
        print("interrupted: what was seen so far counts", file=sys.stderr)
    stop.set()
    process.send_signal(signal.SIGTERM)
    if process.wait(60):
        watch.warnings.append(f"edge-run ended with exit code {process.returncode}")
    return samples, watch, probed


def p99(values: list[tuple[float, float]], begin_s: float, end_s: float) -> float:
    """Return the p99 of what was noted in some time."""
    return float(np.percentile([value for at_s, value in values if begin_s <= at_s < end_s], 99))


def warmed_up(samples: list[Sample]) -> list[Sample]:
    """Leave out the beginning."""
    warm_s = min(WARM_S, WARM_FRACTION * (samples[-1].at_s - samples[0].at_s))
    return [one for one in samples if one.at_s >= samples[0].at_s + warm_s]


def quarters(
    samples: list[Sample], watch: Watch, probed: list[tuple[float, float]]
) -> list[dict[str, float]]:
    """Sum up each quarter of the time behind the warming up."""
    warm = warmed_up(samples)
    edges: list[float] = np.linspace(warm[0].at_s, warm[-1].at_s + 0.001, 5).tolist()
    rows = []
    for begin_s, end_s in pairwise(edges):
        here = [one for one in samples if begin_s <= one.at_s < end_s]
        frames = sum(begin_s <= at_s < end_s for at_s, _ in watch.latencies)
        rows.append(
            {
                "frames": frames,
                "metres": round(here[-1].metres - here[0].metres, 1),
                "rss_mib": round(float(np.median([one.rss_mib for one in here])), 1),
                "rss_mib_most": round(max(one.rss_mib for one in here), 1),
                "handles": float(np.median([one.handles for one in here])),
                "handles_most": max(one.handles for one in here),
                "threads": float(np.median([one.threads for one in here])),
                "threads_most": max(one.threads for one in here),
                "p99_ms": round(p99(watch.latencies, begin_s, end_s), 2),
                "probe_p99_ms": round(p99(probed, begin_s, end_s), 2),
                "cpu_ms_per_frame": round((here[-1].cpu_s - here[0].cpu_s) / frames * 1000, 2),
            }
        )
    return rows


def verdict(rows: list[dict[str, float]]) -> dict[str, bool]:
    """Say what is flat. Latency is compared as it is, and over the probe's of the same time."""
    first, last = rows[0], rows[-1]
    paired = (last["p99_ms"] / last["probe_p99_ms"]) / (first["p99_ms"] / first["probe_p99_ms"])
    return {
        "memory": last["rss_mib"] <= first["rss_mib"] * (1 + MOST_GROWTH),
        "handles": last["handles"] <= first["handles"],
        "threads": last["threads"] <= first["threads"],
        "p99": last["p99_ms"] <= first["p99_ms"] * MOST_P99,
        "p99 over the probe's": paired <= MOST_P99,
        "processor per frame": last["cpu_ms_per_frame"] <= first["cpu_ms_per_frame"] * MOST_P99,
    }


def result_of(
    samples: list[Sample], watch: Watch, probed: list[tuple[float, float]], messages: int, flags: list[str]
) -> dict[str, Any]:
    """Gather what is written and printed."""
    rows = quarters(samples, watch, probed)
    warm = warmed_up(samples)
    hours = [(one.at_s - warm[0].at_s) / 3600 for one in warm]
    metres = samples[-1].metres
    return {
        "camera": CAMERA,
        "flags": flags,
        "minutes": round((samples[-1].at_s - samples[0].at_s) / 60, 1),
        "metres": round(metres, 1),
        "hours_of_the_loom": round(metres / parse_loom_options(CAMERA).speed_m_min / 60, 2),
        "frames": len(watch.latencies),
        "defect_messages": messages,
        "record_mib": round(samples[-1].record_mib, 1),
        "rss_mib_per_hour": round(float(np.polyfit(hours, [one.rss_mib for one in warm], 1)[0]), 2),
        "load_average": round(os.getloadavg()[2], 1),
        "quarters": rows,
        "flat": verdict(rows),
        "warnings": watch.warnings[:20],
        "samples": [[round(one.at_s - samples[0].at_s), *one[1:4]] for one in samples[::15]],
    }


def main() -> None:
    """Print and write the quarters, and what is flat."""
    minutes, out, flags = float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    result = result_of(*run(minutes, flags), flags)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    columns = list(result["quarters"][0])
    print("  ".join(["quarter", *columns]))
    for number, row in enumerate(result["quarters"], start=1):
        print("  ".join([f"{number:7}", *(f"{row[name]:{len(name)}}" for name in columns)]))
    print(f"{result['hours_of_the_loom']} h of the loom in {result['minutes']} min; ", end="")
    print(f"memory {result['rss_mib_per_hour']:+} MiB per hour")
    for name, is_flat in result["flat"].items():
        print(f"{name}: {'flat' if is_flat else 'NOT FLAT'}")


if __name__ == "__main__":
    main()

"""Measure the office: many devices that speak MQTT, while broker, database and office are killed.

    python docs/benchmarks/fleet.py --looms 400 --minutes 60 --kill-every 60 --out fleet.json

Each device is a roll record with its outbox and sender, as in edge-run, in one of several processes. What
it records is counted in the record itself; what the office has is counted in the database.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import psutil

from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.config.mqtt import MqttSettings
from edge.fleet.database import Connection, connected
from edge.fleet.migrate import migrate
from edge.mqtt.publisher import Publisher
from edge.roll.outbox import Outbox
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from tests.processes import program
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT, PlainBroker, Postgres, office_settings

DAY_S = 86_400.0
PATIENCE_S = 600.0
KINDS = ("broken", "drop", "wrinkle")
LEFT = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_sent)"
RECORDED = {"defects": "event_id", "events": "event_id", "rolls": "roll_id"}


def devices(folder: Path, broker: str, names: list[str], seconds: float, per_s: float) -> None:
    """Run several devices in this process: record for a while, then send until the office has all."""
    chosen = random.Random(names[0])
    with ExitStack() as stack:
        recorders = [stack.enter_context(device(folder, broker, name, stack)) for name in names]
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            recorder = chosen.choice(recorders)
            start_m = chosen.random() * 100
            kind = chosen.choice(KINDS)
            recorder.event("camera silent", "benchmark") if chosen.random() < 0.2 else recorder.add(
                [ClothDefect(kind, chosen.random(), start_m, start_m + 0.01, 0.0, 5.0)], Coverage(), None
            )
            time.sleep(chosen.expovariate(per_s * len(names)))
        for recorder in recorders:
            recorder.finish(Coverage(), None, "finished")
        paths = [folder / f"{name}.db" for name in names]
        end_s = time.monotonic() + PATIENCE_S
        while any(asked(path, LEFT) for path in paths) and time.monotonic() < end_s:
            time.sleep(0.5)


def device(folder: Path, broker: str, name: str, stack: ExitStack) -> RollRecorder:
    """Return a recorder whose outbox is sent."""
    path = folder / f"{name}.db"
    outbox = Outbox(path)
    settings = MqttSettings(broker=broker, box=name, receipts=True, receipt_s=20.0, longest_pause_s=5.0)
    stack.enter_context(Publisher(outbox, settings))
    head = RollHead("loom", "0" * 64, {}, f"{name}-1", article=f"article {hash(name) % 20}")
    return RollRecorder(path, head, outbox=outbox)


def asked(path: Path, query: str) -> int:
    """Ask a record for a number."""
    with closing(sqlite3.connect(path, timeout=30)) as db:
        return int(db.execute(query).fetchone()[0])


class OfficeProcess:
    """The office as a process, with what it costs; it can be killed."""

    def __init__(self, folder: Path, settings: Path) -> None:
        self._folder, self._settings = folder, settings
        self.cpu_s = 0.0
        self.most_mib = 0.0
        self.up()

    def up(self) -> None:
        """Start it."""
        with (self._folder / "office.log").open("ab") as log:
            command = program("office", "run", "--config", self._settings)
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._seen = psutil.Process(self._process.pid)
        self._own_s = 0.0

    def look(self) -> None:
        """Note what it has used."""
        try:
            times = self._seen.cpu_times()
            self._own_s = times.user + times.system
            self.most_mib = max(self.most_mib, self._seen.memory_info().rss / 2**20)
        except psutil.NoSuchProcess:
            pass

    def down(self, how: int = signal.SIGKILL) -> None:
        """End it."""
        self.look()
        self.cpu_s += self._own_s
        self._process.send_signal(how)
        self._process.wait(60)


def kill_at_random(
    chosen: random.Random, office: OfficeProcess, broker: PlainBroker, postgres: Postgres
) -> str:
    """Kill one of the three and start it again; returns which."""
    victim = chosen.choice(("office", "broker", "database"))
    if victim == "office":
        office.down()
        office.up()
    elif victim == "broker":
        broker.down()
        broker.up()
    else:
        postgres.down(signal.SIGKILL)
        postgres.up()
    return victim


def measure(
    options: argparse.Namespace, folder: Path, broker: PlainBroker, postgres: Postgres
) -> dict[str, Any]:
    """Run all, and return what was counted."""
    broker.up()
    postgres.up()
    url = postgres.database("loomsight")
    migrate(office_settings(url))
    settings = folder / "office.toml"
    settings.write_text(
        f'[mqtt]\nbroker = "{broker.url}"\nlongest_pause_s = 5\n[database]\nurl = "{url}"\n'
    )
    office = OfficeProcess(folder, settings)
    names = [f"loom-{n}" for n in range(options.looms)]
    per_s = options.per_day * options.speedup / DAY_S
    groups = [names[start :: options.processes] for start in range(min(options.processes, len(names)))]
    started_s = time.monotonic()
    work = [
        subprocess.Popen([
            sys.executable, __file__, "--devices", ",".join(group), "--folder", str(folder),
            "--broker", broker.url, "--minutes", str(options.minutes), "--rate-per-s", str(per_s),
        ])
        for group in groups
    ]  # fmt: skip
    kills = watch(options, office, broker, postgres, work)
    seconds = time.monotonic() - started_s
    office.down(signal.SIGTERM)
    return {**counts(folder, names, url), **costs(office, seconds), "kills": kills, "looms": options.looms}


def watch(
    options: argparse.Namespace,
    office: OfficeProcess,
    broker: PlainBroker,
    postgres: Postgres,
    work: list[subprocess.Popen[bytes]],
) -> dict[str, int]:
    """Kill at random while devices record, and wait until all of them have sent all."""
    chosen, kills = random.Random(24), {"office": 0, "broker": 0, "database": 0}
    started_s = killed_s = time.monotonic()
    is_over = threading.Event()
    while any(process.poll() is None for process in work):
        is_over.wait(1.0)
        office.look()
        now_s = time.monotonic()
        recording = now_s - started_s < 60 * options.minutes
        if (
            options.kill_every
            and recording
            and now_s - killed_s >= options.kill_every * chosen.uniform(0.5, 1.5)
        ):
            killed_s = now_s
            kills[kill_at_random(chosen, office, broker, postgres)] += 1
    if any(process.returncode for process in work):
        sys.exit("a device ended with an error")
    return kills


def counts(folder: Path, names: list[str], url: str) -> dict[str, Any]:
    """Compare what devices have recorded with what the office has stored."""
    recorded: dict[str, set[str]] = {table: set() for table in RECORDED}
    for name in names:
        with closing(sqlite3.connect(folder / f"{name}.db")) as db:
            for table, column in RECORDED.items():
                recorded[table] |= {row[0] for row in db.execute(f"SELECT {column} FROM {table}")}
    found: dict[str, Any] = {}
    with connected(office_settings(url).database) as database:
        for table, column in RECORDED.items():
            stored = [row[0] for row in database.execute(f"SELECT {column} FROM {table}")]
            found[table] = {
                "recorded": len(recorded[table]),
                "stored": len(set(stored)),
                "duplicates": len(stored) - len(set(stored)),
                "lost": len(recorded[table] - set(stored)),
            }
        lag = (
            "SELECT percentile_cont(%s) WITHIN GROUP (ORDER BY extract(epoch FROM received_utc - utc)) "
            "FROM defects"
        )
        found["lag_s"] = {f"p{p}": round(one(database, lag, p / 100), 3) for p in (50, 99)}
        size = one(database, "SELECT pg_database_size(current_database())")
        found["database_mib"] = round(size / 2**20, 1)
    return found


def one(database: Connection, query: str, *values: float) -> float:
    """Return the number that a query answers; 0 for none."""
    row = database.execute(query, values).fetchone()
    return float(row[0] or 0) if row else 0.0


def costs(office: OfficeProcess, seconds: float) -> dict[str, Any]:
    """Return what the office has used."""
    return {
        "seconds": round(seconds, 1),
        "office_cpu_percent": round(100 * office.cpu_s / seconds, 1),
        "office_most_mib": round(office.most_mib),
    }


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--looms", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0.2)
    parser.add_argument("--processes", type=int, default=16, help="that the devices are spread over")
    parser.add_argument("--per-day", type=float, default=200.0, help="messages of a real loom in a day")
    parser.add_argument("--speedup", type=float, default=20.0)
    parser.add_argument("--kill-every", type=float, default=0.0, help="seconds, about; 0 for never")
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON")
    for name in ("--devices", "--folder", "--broker", "--rate-per-s"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main() -> None:
    options = options_of()
    if options.devices:
        names = options.devices.split(",")
        seconds, per_s = 60 * options.minutes, float(options.rate_per_s)
        return devices(Path(options.folder), options.broker, names, seconds, per_s)
    if not HAS_SERVERS:
        sys.exit(WHY_NOT)
    with tempfile.TemporaryDirectory(prefix="loomsight-fleet-") as name:
        postgres, broker = Postgres(is_durable=True), PlainBroker(Path(name))
        try:
            found = measure(options, Path(name), broker, postgres)
        finally:
            broker.down()
            postgres.remove()
    rows = sum(found[table]["stored"] for table in RECORDED)
    found["rows_per_s"] = round(rows / found["seconds"], 2)
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    if any(found[table]["lost"] or found[table]["duplicates"] for table in RECORDED):
        sys.exit("lost or duplicate rows")
    return None


if __name__ == "__main__":
    main()

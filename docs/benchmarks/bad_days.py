"""Have bad days on purpose: each with a whole edge-run, real cameras, disks, brokers and kills.

What is simulated is the cloth and, where it says so, the clock. A table is printed at the end; what is done
stands in OUT.json at any moment, and days that are done there are kept.

Usage: PYTHONPATH=. python docs/benchmarks/bad_days.py OUT.json [--days NAME ...] [--kills N] [--minutes N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_broker_days import BROKER_DAYS
from bad_camera_days import CAMERA_DAYS
from bad_day import Day, Place
from bad_disk_days import DISK_DAYS
from bad_emulator_days import EMULATOR_DAYS
from bad_process_days import PROCESS_DAYS

from edge.backends.probe import processor_name
from tests.conftest import write_bright_cell_bundle

DAYS: dict[str, Callable[[Place], Day]] = {
    **CAMERA_DAYS, **DISK_DAYS, **BROKER_DAYS, **PROCESS_DAYS, **EMULATOR_DAYS
}  # fmt: skip

MARK = "LOOMSIGHT_BAD_DAYS_ALONE"

COLUMNS = ("day", "done", "seen", "adds up", "recorded before = after", "doubled", "said", "verdict")


def had(name: str, kills: int, minutes: float) -> dict[str, Any]:
    """Have one day, in a folder of its own; one that cannot be had is said to have failed."""
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bad-day-") as folder:
        bundle = write_bright_cell_bundle(Path(folder) / "bundle")
        place = Place(Path(folder), bundle, kills, minutes)
        try:
            day = DAYS[name](place)
        except Exception as error:  # noqa: BLE001 - one day that goes wrong is a result, and others follow
            traceback.print_exc()
            day = Day(done="", seen="", problems=[f"{type(error).__name__}: {error}"])
        finally:
            place.clean_up()
    return {"day": name, "seconds": round(time.monotonic() - begin_s, 1), **day.as_json()}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the days as a table in Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(str(row[column]) for column in COLUMNS)} |" for row in rows]
    return "\n".join(lines)


def written(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write what is done so far, whole."""
    machine = {"processor": processor_name(), "system": platform.platform()}
    beside = out.with_name(f".{out.name}")
    beside.write_text(json.dumps({**machine, "days": rows}, indent=1) + "\n", encoding="utf-8")
    beside.replace(out)


def main() -> None:
    """Have the days that were asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--days", nargs="+", choices=DAYS, default=list(DAYS), metavar="NAME")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each of the emulators")
    asked = parser.parse_args()
    if os.geteuid() == 0 and MARK not in os.environ:  # mounts of this process are seen by nobody else
        os.environ[MARK] = "yes"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    before = json.loads(asked.out.read_text(encoding="utf-8"))["days"] if asked.out.exists() else []
    rows = {row["day"]: row for row in before}
    try:
        for name in asked.days:
            rows[name] = had(name, asked.kills, asked.minutes)
            print(f"{name}: {rows[name]['verdict']} ({rows[name]['seconds']:.0f} s)", file=sys.stderr)
            written(asked.out, [rows[day] for day in DAYS if day in rows])
    except KeyboardInterrupt:
        print("interrupted: these days are done", file=sys.stderr)
    print(table([rows[day] for day in DAYS if day in rows]))
    sys.exit(any(row["problems"] for row in rows.values()))


if __name__ == "__main__":
    main()

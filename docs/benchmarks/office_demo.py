"""Show the office: broker, database, three simulated looms, and the answer to every question.

    python docs/benchmarks/office_demo.py

It needs `apt-get install postgresql mosquitto`. Both run as processes of this program, in a
temporary folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.fleet.database import Connection, connected
from edge.fleet.migrate import migrate
from edge.roll.database import open_for_reading
from edge.roll.reviews import Review, record_review
from tests.processes import program
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT, PlainBroker, Postgres, office_settings

PATIENCE_S = 120.0
ARTICLES = ("twill 220", "plain 140", "denim 380")


def weave(folder: Path, broker: str, loom: int, roll: int, metres: float) -> subprocess.Popen[bytes]:
    """Start edge-run on a simulated loom that reports to the broker."""
    cloth = f"loom:seed={10 * loom + roll},width_px=512,length_m={metres},defects_per_m=10,mean_grey=120"
    settings = folder / f"loom-{loom}.toml"
    settings.write_text(
        f'roll_record = "{folder}/loom-{loom}.db"\nthreads = 1\ncloth = "all"\n'
        "score_thresholds = {broken = 0.3}\n"
        f'[mqtt]\nbroker = "{broker}"\nbox = "loom-{loom}"\nreceipts = true\nflush_s = 30\n'
    )
    words = [
        "--camera",
        cloth,
        "--config",
        settings,
        "--article",
        ARTICLES[loom % 3],
        "--roll",
        f"R{loom}-{roll}",
    ]
    with (folder / "looms.log").open("ab") as log:
        return subprocess.Popen(program("edge-run", *words), stdout=log, stderr=log)


def weave_all(folder: Path, broker: str, roll: int, metres: float) -> None:
    """Weave a roll on each loom, side by side."""
    looms = [weave(folder, broker, loom, roll, metres) for loom in (1, 2, 3)]
    for number, loom in enumerate(looms, 1):
        if loom.wait():
            sys.exit(f"loom {number}: {(folder / 'looms.log').read_text()[-2000:]}")


def judge(folder: Path) -> int:
    """Let an operator confirm and reject some defects; the next run reports it."""
    verdicts = 0
    for loom in (1, 2, 3):
        record = folder / f"loom-{loom}.db"
        with closing(open_for_reading(record)) as db:
            ids = [row[0] for row in db.execute("SELECT event_id FROM defects ORDER BY rowid LIMIT 6")]
        for number, event_id in enumerate(ids):
            record_review(record, event_id, Review("confirmed" if number % 3 else "rejected"))
        verdicts += len(ids)
    return verdicts


def recorded(folder: Path) -> dict[str, int]:
    """Count what the devices have recorded."""
    counts = dict.fromkeys(("defects", "events", "gaps", "rolls"), 0)
    for loom in (1, 2, 3):
        with closing(open_for_reading(folder / f"loom-{loom}.db")) as db:
            for table in counts:
                counts[table] += db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return counts


def stored(url: str) -> dict[str, int]:
    """Count what the office has stored."""
    with connected(office_settings(url).database) as database:
        tables = ("defects", "events", "gaps", "rolls")
        return {name: _count(database, name) for name in tables}


def _count(database: Connection, name: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {name}").fetchone()
    return int(row[0]) if row else 0


def demonstrate(folder: Path, broker: PlainBroker, postgres: Postgres, metres: float) -> None:
    """Start all, weave, and print what the office knows."""
    broker.up()
    postgres.up()
    url = postgres.database("loomsight")
    migrate(office_settings(url))
    settings = folder / "office.toml"
    settings.write_text(f'[mqtt]\nbroker = "{broker.url}"\n[database]\nurl = "{url}"\n')
    with (folder / "office.log").open("wb") as log:
        office = subprocess.Popen(program("office", "run", "--config", settings), stdout=log, stderr=log)
    try:
        weave_all(folder, broker.url, 1, metres)
        print(f"{judge(folder)} verdicts of operators", flush=True)
        weave_all(folder, broker.url, 2, metres / 2)
        end_s = time.monotonic() + PATIENCE_S
        while stored(url) != recorded(folder) and time.monotonic() < end_s:
            time.sleep(0.2)
    finally:
        office.send_signal(signal.SIGTERM)
        office.wait(PATIENCE_S)
    print(f"recorded {recorded(folder)}\nstored   {stored(url)}", flush=True)
    subprocess.run(program("office", "show", "all", "--config", settings), check=True)
    if stored(url) != recorded(folder):
        sys.exit("not everything arrived")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--metres", type=float, default=1.0, help="of each first roll; the second has half")
    metres = parser.parse_args().metres
    if not HAS_SERVERS:
        sys.exit(WHY_NOT)
    os.environ.setdefault("COLUMNS", "160")
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loomsight-office-") as name:
        postgres = Postgres()
        broker = PlainBroker(Path(name))
        try:
            demonstrate(Path(name), broker, postgres, metres)
        finally:
            broker.down()
            postgres.remove()
    print(f"{time.monotonic() - started_s:.0f} s")


if __name__ == "__main__":
    main()

"""Measure the dashboards' questions on a year of a mill: each one's time, and the partitions that it reads.

    python docs/benchmarks/fleet_year.py --looms 400 --days 365 --out docs/benchmarks/fleet_year.json

Rows are made in the database itself, day by day, through the tables that the office writes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.fleet.database import Connection, connected
from edge.fleet.migrate import migrate
from edge.fleet.partitions import Partitions
from edge.fleet.queries import answer, queries
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT, Postgres, office_settings

PARTITION = re.compile(r"\b(?:defects|events|gaps)_\d{8}\b")
SPANS_DAYS = (1, 30, 365)

OF_DAY = "%(day)s::timestamptz + random() * interval '1 day' AS utc"
OF_LOOM = (
    "'loom-' || l AS loom, 'roll-' || l || '-' || %(number)s AS roll_id, 'R' || %(number)s AS roll, "
    "'article ' || l %% 20 AS article"
)
LOOMS = "generate_series(1, %(looms)s) l"
MAKE = (
    f"""INSERT INTO defects SELECT gen_random_uuid()::text, utc, loom, roll_id, roll, article,
        (ARRAY['broken', 'drop', 'wrinkle'])[1 + floor(3 * random())::int],
        (ARRAY['broken pick', 'broken end', 'nep', 'slub', 'stain'])[1 + floor(5 * random())::int], NULL,
        random(), 100 * random(), 100, 0, 5, 1 + floor(4 * random())::int, utc + interval '1 second'
        FROM (SELECT {OF_DAY}, {OF_LOOM} FROM {LOOMS}, generate_series(1, %(defects)s)) made""",
    f"""INSERT INTO events SELECT gen_random_uuid()::text, utc, loom, roll_id, roll, article,
        (ARRAY['camera silent', 'broker lost', 'stop', 'roll ended'])[1 + floor(4 * random())::int], 'x',
        NULL, NULL, utc + interval '1 second'
        FROM (SELECT {OF_DAY}, {OF_LOOM} FROM {LOOMS}, generate_series(1, 12)) made""",
    f"""INSERT INTO gaps SELECT gen_random_uuid()::text, utc, loom, roll_id, roll, article, 1, 100, 0,
        random(), (ARRAY['dropped', 'no cloth', 'unreadable'])[1 + floor(3 * random())::int],
        utc + interval '1 second'
        FROM (SELECT {OF_DAY}, {OF_LOOM} FROM {LOOMS}, generate_series(1, 10)) made""",
    f"""INSERT INTO rolls SELECT loom, roll_id, roll, article, utc, 2, 'finished', %(day)s, utc, 'loom',
        md5((l %% 3)::text), '0.1.0', 400, 400, 398, 1800, %(defects)s, 90, 12.5, 'first', NULL, utc
        FROM (SELECT {OF_DAY}, {OF_LOOM}, l FROM {LOOMS}) made""",
    """INSERT INTO last_verdicts SELECT event_id, event_id, utc, loom, roll_id, roll, article, 1, utc,
        (ARRAY['confirmed', 'rejected'])[1 + floor(2 * random())::int], NULL, class_name, kind, received_utc
        FROM defects WHERE utc >= %(day)s AND utc < %(day)s::timestamptz + interval '1 day'
        AND random() < 0.05""",
)


def generate(database: Connection, looms: int, days: int, defects: int) -> None:
    """Make the rows of so many days up to now."""
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    partitions = Partitions()
    for number in range(days):
        day = today - timedelta(days=days - 1 - number)
        partitions.ensure(database, [day.date()])
        values = {"day": day, "number": number, "looms": looms, "defects": defects}
        with database.transaction():
            for statement in MAKE:
                database.execute(statement, values)
        if number % 30 == 29:
            print(f"{number + 1} of {days} days", file=sys.stderr, flush=True)
    database.execute(
        "INSERT INTO looms SELECT DISTINCT loom, 'running', now(), '0.1.0', 'loom', NULL::text, now(), "
        "now(), 1.0 FROM rolls"
    )
    database.execute("ANALYZE")


def timed(database: Connection, days: int) -> dict[str, Any]:
    """Ask every question over several spans of time."""
    now = datetime.now(timezone.utc)
    found: dict[str, Any] = {}
    for name, query in queries().items():
        found[name] = {}
        for span in (span for span in SPANS_DAYS if span <= days or span == SPANS_DAYS[0]):
            started_s = time.perf_counter()
            answer(database, query, now - timedelta(days=span), now)
            seconds = time.perf_counter() - started_s
            plan = answer(database, query, now - timedelta(days=span), now, "EXPLAIN ")[1]
            read = set(PARTITION.findall("\n".join(line for (line,) in plan)))
            found[name][f"{span} d"] = {"s": round(seconds, 3), "partitions_read": len(read)}
    return found


def sizes(database: Connection, looms: int, days: int) -> dict[str, Any]:
    """Return rows and bytes."""
    tables = ("defects", "events", "gaps", "rolls")
    rows = {name: one(database, f"SELECT count(*) FROM {name}") for name in tables}
    mib = one(database, "SELECT pg_database_size(current_database())") / 2**20
    parts = one(database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'defects'::regclass")
    return {
        "rows": rows, "mib": round(mib), "mib_per_loom_year": round(mib / looms / days * 365, 2),
        "partitions_of_defects": parts,
    }  # fmt: skip


def one(database: Connection, query: str) -> int:
    row = database.execute(query).fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--looms", type=int, default=4)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--defects", type=int, default=60, help="of a loom in a day")
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON")
    options = parser.parse_args()
    if not HAS_SERVERS:
        sys.exit(WHY_NOT)
    with tempfile.TemporaryDirectory():
        postgres = Postgres()
        try:
            postgres.up()
            settings = office_settings(postgres.database("loomsight"))
            migrate(settings)
            with connected(settings.database) as database:
                started_s = time.monotonic()
                generate(database, options.looms, options.days, options.defects)
                found = {
                    "looms": options.looms, "days": options.days,
                    "generated_s": round(time.monotonic() - started_s, 1),
                    **sizes(database, options.looms, options.days),
                    "questions": timed(database, options.days),
                }  # fmt: skip
        finally:
            postgres.remove()
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

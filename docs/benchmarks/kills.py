"""Kill -9 every command that writes, at random moments, and look at what is left.

Usage: PYTHONPATH=. python docs/benchmarks/kills.py OUT.json [--kills N] [--jobs NAME ...] [--seed S]

Each job runs one command over and over, each time in a process of its own that is killed at a random moment
of its usual time. After every kill: what stands under a final name is whole, what was acknowledged is still
there, and the command, or the one that its documentation advises, ends well. What stands in OUT.json
already is added to. `bad_days.py --days kills` kills `edge-run` with a broker.

A process is forked from this one, which has imported all that an undisturbed run did: a kill hits the work,
not the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from kill_jobs import JOBS, Job, Place
from kill_process import import_what_it_did, in_peace, killed, last_line
from kill_review import Review

from edge.backends.probe import processor_name

REVIEW = "review"
KILLS_OF_A_FOLDER = 10
POSTING_S = 1.0


@dataclass
class Outcome:
    """Say what a job's kills did.

    Attributes:
        landed: kills that hit a process which had not ended by itself; of `review`, one at a change.
        whole: times that the result already stood, whole, after the kill.
        acknowledged: times that the command had said it was done; of `review`, decisions answered.
        problems: what was not as it should be.
    """

    job: str
    kills: int = 0
    landed: int = 0
    whole: int = 0
    acknowledged: int = 0
    usual_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    def added_to(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row that holds what an earlier run did, too; times are those of this run."""
        counts = ("kills", "landed", "whole", "acknowledged")
        summed = {name: row.get(name, 0) + getattr(self, name) for name in counts}
        return {**vars(self), **summed, "problems": row.get("problems", []) + self.problems}


def tried(place: Place, name: str, kills: int, chance: random.Random) -> Outcome:
    """Kill one job so many times."""
    outcome = Outcome(name)
    if name == REVIEW:
        kill_reviews(place, kills, chance, outcome)
        return outcome
    job = JOBS[name]
    for _ in range(2):  # the first imports what all others have then
        with one_try(place, job) as folder:
            log, begin_s = folder / "log.txt", time.monotonic()
            code = in_peace(job.arguments(place, folder), log)
            outcome.usual_s = round(time.monotonic() - begin_s, 3)
            if code or not job.check(place, folder):
                said = log.read_text(errors="replace")[-300:]
                outcome.problems.append(f"undisturbed: exit code {code}: {said}")
                return outcome
            import_what_it_did(log)
    while outcome.kills < kills:
        with one_try(place, job) as folder:
            kill_once(place, job, folder, chance, outcome)
    return outcome


def kill_once(place: Place, job: Job, folder: Path, chance: random.Random, outcome: Outcome) -> None:
    """Kill, look at what is left, run to the end, look again; every other time kill the second run, too."""
    log, arguments, first = folder / "log.txt", job.arguments(place, folder), outcome.kills
    try:
        for _ in range(1 + chance.randrange(2)):
            outcome.kills += 1
            code = killed(arguments, log, chance.uniform(0, outcome.usual_s))
            is_there = job.check(place, folder)
            outcome.landed += code is None
            outcome.acknowledged += code == 0
            outcome.whole += is_there
            if code == 0 and not is_there:
                raise AssertionError("it said that it was done, and there is no result")
            if is_there and job.needs_free_name and job.again is None:
                return
            if job.again is not None and (folder / "run" / "last.pt").exists():
                arguments = job.again(place, folder)
        if code := gone_on(job, place, folder):
            raise AssertionError(f"exit code {code} when run again: {last_line(log)}")
        if not job.check(place, folder):
            raise AssertionError("no result after it was run again")
    except Exception as error:  # noqa: BLE001 - whatever is wrong after a kill is what is looked for
        outcome.problems.append(f"kill {first}: {type(error).__name__}: {error}")


def gone_on(job: Job, place: Place, folder: Path) -> int:
    """Go on after a kill as the documentation and the last line printed have it; returns the exit code.

    A run that stands is resumed; one that has kept nothing yet says so, and is started again.
    """
    log = folder / "log.txt"
    if job.again is None or not any((folder / name).exists() for name in ("run", "job")):
        return in_peace(job.arguments(place, folder), log)
    code = in_peace(job.again(place, folder), log)
    if code and "Leave --resume out" in last_line(log):
        return in_peace(job.arguments(place, folder), log)
    return code


def kill_reviews(place: Place, kills: int, chance: random.Random, outcome: Outcome) -> None:
    """Kill servers of one folder after the other; the first ends in peace and shows what it imports."""
    with one_try(place) as folder:
        Review(folder, chance).end_in_peace()
        import_what_it_did(folder / "log.txt")
    while outcome.kills < kills:
        with one_try(place) as folder:
            at_most = min(KILLS_OF_A_FOLDER, kills - outcome.kills)
            kill_review(Review(folder, chance), chance, outcome, at_most)


def kill_review(review: Review, chance: random.Random, outcome: Outcome, kills: int) -> None:
    """Kill servers of one folder, two of three at work, the third as it starts; the last ends in peace."""
    first = outcome.kills
    try:
        for number in range(kills):
            outcome.kills += 1
            begin_s = time.monotonic()
            if number % 3 == 2:
                review.killed_at_start(chance.uniform(0, outcome.usual_s))
                outcome.landed += 1
                continue
            outcome.landed += review.killed_at_work(chance.uniform(0, POSTING_S))
            outcome.usual_s = outcome.usual_s or round(time.monotonic() - begin_s, 3)
        review.end_in_peace()
    except Exception as error:  # noqa: BLE001 - whatever is wrong after a kill is what is looked for
        outcome.problems.append(f"kills from {first} on: {type(error).__name__}: {error}")
    outcome.acknowledged += review.acknowledged


@contextmanager
def one_try(place: Place, job: Job | None = None) -> Iterator[Path]:
    """Make a folder for one try, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="try-", dir=place.folder))
    try:
        if job is not None and job.prepare is not None:
            job.prepare(place, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Kill all jobs that were asked for, and print the table."""
    names = [*JOBS, REVIEW]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=100, help="of each job")
    parser.add_argument("--jobs", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seed", type=int, default=11)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    before = json.loads(asked.out.read_text(encoding="utf-8"))["jobs"] if asked.out.is_file() else []
    rows: dict[str, dict[str, Any]] = {row["job"]: row for row in before}
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place = Place(Path(folder))
        for name in asked.jobs:
            row = rows.get(name, {})
            chance = random.Random(f"{asked.seed} {name} {row.get('kills', 0)}")
            outcome = tried(place, name, asked.kills, chance)
            rows[name] = outcome.added_to(row)
            print(
                f"{name}: {outcome.kills} kills, {outcome.landed} landed, {len(outcome.problems)} problems",
                flush=True,
            )
            machine = {"processor": processor_name(), "system": platform.platform(), "seed": asked.seed}
            text = json.dumps({**machine, "jobs": [*rows.values()]}, indent=1)
            asked.out.write_text(f"{text}\n", encoding="utf-8")
    sys.exit(any(row["problems"] for row in rows.values()))


if __name__ == "__main__":
    main()

"""Kill -9 every command that writes, at random moments, and look at what is left.

Usage: PYTHONPATH=. python docs/benchmarks/kills.py OUT.json [--kills N] [--jobs NAME ...] [--seed S]

Each job runs one command over and over, each time in a process of its own that is killed at a random moment
of its usual time. After every kill: what stands under a final name is whole, what was acknowledged is still
there, and the command, or the one that its documentation advises, ends well. Jobs that stand in
OUT.json already and are not named are kept. `bad_days.py --days kills` kills `edge-run` with a broker.

A process is forked from this one, which has imported everything: a kill hits the work, not the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import torch

from distill.checkpoint import read_checkpoint
from distill.dataset import load_dataset
from edge.backends.probe import processor_name
from edge.bundle.opening import open_bundle
from edge.bundle.store import bundle_path
from edge.taxonomy import load_taxonomy
from edge.umbrella import main as loomsight
from tests.conftest import write_bright_cell_bundle
from tests.unit.distill.tiny import write_tiny_dataset, write_untrained

CLASSES = load_taxonomy().classes
RECIPE = """
scale = "p"
input_size_hw_px = [64, 64]
overlap_px = 8
epochs = 2
batch = 8
precision = "float32"
ema_warmup_steps = 5
cache_mb = 16
"""
LONGEST_S = 300.0


@dataclass
class Outcome:
    """Say what a job's kills did.

    Attributes:
        landed: kills that hit a process which had not ended by itself.
        whole: times that the result already stood, whole, after the kill.
        problems: what was not as it should be.
    """

    job: str
    kills: int = 0
    landed: int = 0
    whole: int = 0
    usual_s: float = 0.0
    problems: list[str] = field(default_factory=list)


def forked(arguments: list[str], log: Path) -> int:
    """Start a command of `loomsight` in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    try:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (0, 1, 2):
            os.dup2(stream, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["loomsight", *arguments]
        loomsight()
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    finally:
        os._exit(99)


def awaited(child: int, seconds: float) -> int | None:
    """Wait for a process; returns its exit code, or None if it still runs after so long."""
    end_s = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end_s:
            return None
        time.sleep(0.002)


def in_peace(arguments: list[str], log: Path) -> int:
    """Run a command to its end; returns its exit code."""
    child = forked(arguments, log)
    code = awaited(child, LONGEST_S)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return -1
    return code


def killed(arguments: list[str], log: Path, after_s: float) -> bool:
    """Run a command and kill it after some time; returns whether it was still at work."""
    child = forked(arguments, log)
    if awaited(child, after_s) is not None:
        return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


class Place:
    """Where all jobs work, and what they work on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = write_tiny_dataset(folder / "data", train=8, val=4)
        self.checkpoint = write_untrained(folder / "best.pt")
        self.bundle = write_bright_cell_bundle(folder / "bundle")
        self.other = write_bright_cell_bundle(folder / "other-bundle")
        self.recipe = folder / "tiny.toml"
        self.recipe.write_text(RECIPE, encoding="utf-8")
        self.record = folder / "rolls.db"
        self.paths = {
            "data": self.data, "images": self.data / "images" / "train", "checkpoint": self.checkpoint,
            "recipe": self.recipe, "record": self.record,
        }  # fmt: skip
        camera = "loom:width_px=256,bed_left_mm=2,bed_right_mm=2,length_m=1,mean_grey=120,seed=7"
        made = ["edge-run", "--camera", camera, "--model", str(self.bundle), "--threads", "1"]
        if code := in_peace([*made, "--roll-record", str(self.record)], folder / "record.log"):
            raise RuntimeError(f"no record could be made: exit code {code}; see {folder / 'record.log'}")


@dataclass(frozen=True)
class Job:
    """A command that writes.

    Attributes:
        arguments: of `loomsight`, given the folder of one try.
        again: those that go on after a kill; None for the same ones.
        check: raises if what stands in the folder is not whole; returns whether the result is there.
        needs_free_name: the command refuses a result that stands: then it is not run again.
    """

    arguments: Callable[[Place, Path], list[str]]
    check: Callable[[Place, Path], bool]
    again: Callable[[Place, Path], list[str]] | None = None
    needs_free_name: bool = True


def is_whole_data_set(folder: Path) -> bool:
    """Load a data set and decode all its images; False if there is none."""
    if not folder.exists():
        return False
    data = load_dataset(folder, CLASSES)
    for image in (*data.train, *data.val):
        if cv2.imread(str(image.path)) is None:
            raise AssertionError(f"{image.path} is damaged")
    return True


def is_whole_bundle(folder: Path) -> bool:
    """Check every digest of a bundle; False if there is none."""
    if not folder.exists():
        return False
    open_bundle(folder)
    return True


def store_is_whole(store: Path) -> bool:
    """See that a store has a current bundle that can be opened, if it has any."""
    if not (store / "store.json").exists():
        return False
    open_bundle(bundle_path(store))
    return True


def is_the_report(file: Path) -> bool:
    """See that a report, where it has its name, ends as a report ends."""
    if not file.exists():
        return False
    if not file.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise AssertionError("half a report stands under its name")
    return True


def is_the_export(file: Path) -> bool:
    """See that an exported table, where it has its name, ends with a whole line."""
    if not file.exists():
        return False
    if not file.read_bytes().endswith(b"\n"):
        raise AssertionError("half a table stands under its name")
    return True


def run_is_done(folder: Path) -> bool:
    """Read the checkpoints of a run folder; True if its last word is written."""
    for file in folder.rglob("*.pt"):
        if not file.name.startswith("."):
            read_checkpoint(file)
    return (folder / "metrics.json").is_file() and bool(json.loads((folder / "metrics.json").read_text()))


def round_is_whole(job: Path) -> bool:
    """See that the data set of a round of pseudo-labels is whole, if it has its name."""
    return is_whole_data_set(job / "rounds" / "1" / "dataset")


def simple(command: str, out: str, *, check: Callable[[Path], bool], replaces: bool = False) -> Job:
    """Return a job of a command that is simply run again."""
    return Job(
        lambda place, folder: [*command.format(**place.paths).split(), "--out", str(folder / out)],
        lambda place, folder: check(folder / out),
        needs_free_name=not replaces,
    )


def resumed(command: str, out: str, *, check: Callable[[Path], bool]) -> Job:
    """Return a job of a command that goes on with --resume."""
    job = simple(command, out, check=check)
    return replace(job, again=lambda place, folder: [*job.arguments(place, folder), "--resume"])


SIMULATE = "simulate --images 4 --seed 3 --size-hw 128 128 --workers 1"
PRUNE = "prune {checkpoint} {data} --macs 0.5 --recover labels --recipe {recipe} --epochs 1 --threads 1"
PSEUDO_LABEL = "pseudo-label {images} --reviewed {data} --detector {checkpoint} --device cpu"

JOBS: dict[str, Job] = {
    "simulate": simple(SIMULATE, "out", check=is_whole_data_set),
    "labels convert": simple("labels convert {data} --to dataset", "out", check=is_whole_data_set),
    "labels flip": simple("labels flip {data}", "out", check=is_whole_data_set),
    "bundle install": Job(
        lambda place, folder: ["bundle", "install", str(place.bundle), str(folder / "store")],
        lambda place, folder: store_is_whole(folder / "store"),
        needs_free_name=False,
    ),
    "roll report": simple("roll report {record}", "report.html", check=is_the_report, replaces=True),
    "roll export": simple("roll export {record}", "defects.csv", check=is_the_export, replaces=True),
    "export": simple("export {checkpoint} --images {images}", "out", check=is_whole_bundle),
    "distill": resumed("distill {data} --recipe {recipe}", "run", check=run_is_done),
    "prune": resumed(PRUNE, "run", check=run_is_done),
    "pseudo-label": resumed(PSEUDO_LABEL, "job", check=round_is_whole),
}


def tried(place: Place, name: str, kills: int, chance: random.Random) -> Outcome:
    """Kill one job so many times."""
    job, outcome = JOBS[name], Outcome(name)
    with one_try(place) as folder:
        begin_s = time.monotonic()
        code = in_peace(job.arguments(place, folder), folder / "log.txt")
        outcome.usual_s = round(time.monotonic() - begin_s, 3)
        if code or not job.check(place, folder):
            said = (folder / "log.txt").read_text(errors="replace")[-300:]
            outcome.problems.append(f"undisturbed: exit code {code}: {said}")
            return outcome
    for number in range(kills):
        with one_try(place) as folder:
            kill_once(place, job, folder, chance, outcome, number)
    return outcome


def kill_once(
    place: Place, job: Job, folder: Path, chance: random.Random, outcome: Outcome, number: int
) -> None:
    """Kill, look at what is left, run to the end, look again; every other time kill the second run, too."""
    log, usual_s = folder / "log.txt", outcome.usual_s
    arguments = job.arguments(place, folder)
    try:
        for _ in range(1 + number % 2):
            outcome.kills += 1
            outcome.landed += killed(arguments, log, chance.uniform(0, usual_s))
            if job.check(place, folder):
                outcome.whole += 1
                if job.needs_free_name and job.again is None:
                    return
            if job.again is not None and (folder / "run" / "last.pt").exists():
                arguments = job.again(place, folder)
        if code := gone_on(job, place, folder):
            raise AssertionError(f"exit code {code} when run again: {last_line(log)}")
        if not job.check(place, folder):
            raise AssertionError("no result after it was run again")
    except Exception as error:  # noqa: BLE001 - whatever is wrong after a kill is what is looked for
        outcome.problems.append(f"kill {number}: {type(error).__name__}: {error}")


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


def last_line(log: Path) -> str:
    """Return the last line that a command printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


@contextmanager
def one_try(place: Place) -> Iterator[Path]:
    """Make a folder for one try, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="try-", dir=place.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Kill all jobs that were asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=100, help="of each job")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=11)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    kept = json.loads(asked.out.read_text(encoding="utf-8"))["jobs"] if asked.out.is_file() else []
    rows: list[dict[str, Any]] = [row for row in kept if row["job"] not in asked.jobs]
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place = Place(Path(folder))
        for name in asked.jobs:
            outcome = tried(place, name, asked.kills, random.Random(f"{asked.seed} {name}"))
            rows.append(vars(outcome))
            print(
                f"{name}: {outcome.kills} kills, {outcome.landed} landed, {len(outcome.problems)} problems",
                flush=True,
            )
            machine = {"processor": processor_name(), "system": platform.platform(), "seed": asked.seed}
            asked.out.write_text(json.dumps({**machine, "jobs": rows}, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(row["problems"] for row in rows))


if __name__ == "__main__":
    main()

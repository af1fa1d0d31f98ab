"""A whole edge-run as a process, for the bad days: started, looked at from outside, ended; its record."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from edge.roll.reading import read_rolls

PROGRAM = "from edge.commands.entry import loomsight; loomsight()"
LOOK_S = 0.25
START_S = 300.0
"""A machine that is busy with other things starts slowly."""
END_S = 60.0

LOOM = "loom:live=true,width_px=256,bed_left_mm=2,bed_right_mm=2,lines_per_block=64,mean_grey=120,seed=7"
"""A narrow roll; the model of the tests finds bright cells in it: enough for something to record."""

ILL = "healthz 503"

SETTINGS = """
cloth = "all"
threads = 1
page = "0"
health_port = 0
[score_thresholds]
broken = 0.525
"""


class Happened(NamedTuple):
    """Something of a record or of a broker, and the id it has."""

    event_id: str
    what: str


class Device:
    """Run edge-run with a record, the live page and /healthz, and follow what these say.

    Args:
        folder: of this device; made if it is not there.
        bundle: the model.
        camera: see `edge-run --camera`.
        settings: TOML that comes before the tables of `SETTINGS`.
        tables: TOML that comes behind them.
        before: code that runs first in the process, for a clock.
        prefix: command that edge-run is run by.
        flags: of edge-run.
        record: where the process finds its record; None for the folder of the device.
    Attributes:
        folder: as given.
        record: of the rolls.
        said: what page and /healthz said, numbers left out, in the order in which it came up.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Path,
        camera: str,
        *,
        settings: str = "",
        tables: str = "",
        before: str = "",
        prefix: Sequence[str] = (),
        flags: Sequence[str] = (),
        record: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.record = record or folder / "rolls.db"
        self.config = folder / "box.toml"
        self.summary_path = folder / "summary.json"
        self.said: dict[str, None] = {}
        self.log: list[str] = []
        self._page = self._health = ""
        self._process: subprocess.Popen[str] | None = None
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self.config.write_text(
            f'camera = "{camera}"\nmodel = "{bundle}"\n{settings}{SETTINGS}{tables}', encoding="utf-8"
        )
        self._command = [
            *prefix, sys.executable, "-c", before + PROGRAM, "edge-run", "--config", str(self.config),
            "--roll-record", str(self.record), "--summary", str(self.summary_path), *flags,
        ]  # fmt: skip

    def start(self) -> None:
        """Start the process, and a thread that follows what it says."""
        self._page = self._health = ""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read_log, args=(self._process,), daemon=True).start()
        threading.Thread(target=self._look, args=(self._process,), daemon=True).start()

    def start_and_wait(self) -> None:
        """Start, and wait for the first frame."""
        self.start()
        self.until("the first frame", lambda: self.frames > 0, START_S)

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def frames(self) -> int:
        """Frames inspected, as /healthz says; 0 while it does not answer."""
        return int(self.healthz()[1].get("frames", 0))

    @property
    def has_traceback(self) -> bool:
        """Whether a person saw one."""
        return bool(self.traceback)

    @property
    def traceback(self) -> str:
        """The lines of the first one."""
        first = next((at for at, line in enumerate(self.log) if "Traceback" in line), None)
        return "" if first is None else "".join(self.log[first : first + 30])

    def healthz(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer of /healthz; 0 while there is none."""
        if not self._health:
            return 0, {}
        try:
            with urlopen(f"{self._health}/healthz", timeout=5) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as error:
            return error.code, json.loads(error.read())
        except (OSError, ValueError, HTTPException):
            return 0, {}

    def state(self) -> dict[str, Any]:
        """Return what the page is told; nothing while it does not answer."""
        if not self._page:
            return {}
        with (
            suppress(OSError, ValueError, HTTPException),
            urlopen(f"{self._page}state", timeout=5) as answer,
        ):
            return dict(json.loads(answer.read()))
        return {}

    def until(self, what: str, is_so: Callable[[], object], most_s: float) -> None:
        """Wait until something is so.

        Raises:
            TimeoutError: if it is not in time, or the process ends.
        """
        end_s = time.monotonic() + most_s
        while not is_so():
            if not self.is_running:
                raise TimeoutError(f"edge-run ended before {what}: {''.join(self.log[-3:])}")
            if time.monotonic() > end_s:
                raise TimeoutError(
                    f"no sign of {what} in {most_s:.0f} s: {''.join(self.log[-3:])}{self.state()}"
                )
            time.sleep(LOOK_S)

    def more_frames(self, count: int, most_s: float = 60.0) -> None:
        """Wait until so many more frames are inspected."""
        frames = self.frames
        self.until(f"{count} more frames", lambda: self.frames >= frames + count, most_s)

    def end(self, how: int = signal.SIGTERM) -> int:
        """End the process and return its exit code."""
        assert self._process is not None
        if self.is_running:
            self._process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of the process, not too long, and return its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise TimeoutError(f"edge-run does not end within {END_S:.0f} s") from None

    def kill(self) -> None:
        """Leave no process behind, whatever happened."""
        if self._process is not None and self.is_running:
            self._process.kill()
            self._process.wait()

    def summary(self) -> dict[str, Any]:
        """Return the summary of the last run; nothing if there is none."""
        if not self.summary_path.exists():
            return {}
        return dict(json.loads(self.summary_path.read_text(encoding="utf-8")))

    def note(self, text: str) -> None:
        """Note what a person was told, without its numbers."""
        self.said.setdefault(re.sub(r"(?<!healthz )\b\d+(\.\d+)?\b", "N", text))

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line)
            if line.startswith("page: "):
                self._page = line.split()[1].partition("#")[0]
            found = re.search(r"health on (\S+)/healthz", line)
            if found:
                self._health = found[1]

    def _look(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            health = self.healthz()[1]
            for level in ("reasons", "warnings"):
                for text in health.get(level, ()):
                    self.note(f"{ILL if level == 'reasons' else 'healthz warns'}: {text}")
            for trouble in self.state().get("troubles", ()):
                if trouble["level"] != "note":
                    self.note(f"page: {trouble['text']}")
            time.sleep(LOOK_S)


def happened(record: Path) -> list[Happened]:
    """Return all that is on the disk, read beside whoever writes; nothing while there is no record."""
    if not record.exists():
        return []
    place = "class_name || ' ' || start_m || ' ' || end_m || ' ' || left_mm || ' ' || right_mm"
    with closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True, timeout=10)) as db:
        if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'event_data'").fetchone()[0]:
            return []
        defects = db.execute(f"SELECT event_id, roll_id || ' ' || {place} FROM defects").fetchall()
        events = db.execute("SELECT event_id, kind || ' ' || detail || ' ' || utc FROM events").fetchall()
    return [Happened(*row) for row in (*defects, *events)]


def doubled(all_of_it: Sequence[Happened]) -> int:
    """Count what is there under two ids, or twice under one."""
    ids = Counter(one.event_id for one in all_of_it)
    whats = Counter(one.what for one in set(all_of_it))
    return sum(count - 1 for count in (*ids.values(), *whats.values()))


def adds_up(record: Path) -> bool:
    """Tell whether lines inspected and lines in gaps are those that passed, roll by roll."""
    return all(
        roll.head["inspected_lines"] + sum(gap.lines for gap in roll.gaps) == roll.head["passed_lines"]
        and roll.head["inspected_frames"] <= roll.head["passed_frames"]
        for roll in read_rolls(record)
    )


def kinds(record: Path) -> list[str]:
    """Return the kinds of all events, in their order."""
    return [event.kind for roll in read_rolls(record) for event in roll.events]


def gap_m(record: Path) -> dict[str, float]:
    """Return the metres that passed unseen, by reason, over all rolls."""
    metres: defaultdict[str, float] = defaultdict(float)
    for roll in read_rolls(record):
        for gap in roll.gaps:
            metres[gap.reason] += gap.lines * roll.m_per_line
    return {reason: round(length, 3) for reason, length in metres.items()}

"""What a bad day is, and what is looked at on every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bad_device import Device, Happened, adds_up, doubled, happened


@dataclass(slots=True)
class Day:
    """Say what was done on a day and what came of it.

    Attributes:
        done, seen: for a person to read.
        sums: whether lines inspected and lines in gaps were those that passed; None where there were none.
        before, after: what was recorded when it happened, and what of that is there at the end.
        doubled: recorded or delivered twice, or under two ids.
        said: by page and /healthz, while it lasted.
        problems: what was not as it should be; empty on a good day.
    """

    done: str
    seen: str
    sums: bool | None = None
    before: int | None = None
    after: int | None = None
    doubled: int | None = None
    said: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    def expect(self, is_so: object, otherwise: str) -> None:
        """Note a problem unless something is so."""
        if not is_so:
            self.problems.append(otherwise)

    def as_json(self) -> dict[str, Any]:
        """Return it as a row of the table."""
        counted = "—" if self.before is None else f"{self.before} = {self.after}"
        if self.before != self.after:
            counted = f"{self.before} ≠ {self.after}"
        return {
            "done": self.done,
            "seen": self.seen,
            "adds up": "—" if self.sums is None else "yes" if self.sums else "NO",
            "recorded before = after": counted,
            "doubled": "—" if self.doubled is None else self.doubled,
            "said": "; ".join(self.said) or "nothing",
            "verdict": "; ".join(self.problems) or "good",
            "problems": self.problems,
        }


class Place:
    """Where a day is had.

    Args:
        folder: for what it writes.
        bundle: the model.
        kills, minutes: how much of it, for the days that take a number.
    """

    def __init__(self, folder: Path, bundle: Path, kills: int, minutes: float) -> None:
        self.folder = folder
        self.bundle = bundle
        self.kills = kills
        self.minutes = minutes
        self._boxes: list[Device] = []

    def device(self, camera: str, name: str = "box", **more: Any) -> Device:
        """Return a device that is not started; see `Device`."""
        device = Device(self.folder / name, self.bundle, camera, **more)
        self._boxes.append(device)
        return device

    def clean_up(self) -> None:
        """Leave no process behind."""
        for device in self._boxes:
            device.kill()


def judged(day: Day, device: Device, before: Sequence[Happened], *, record: Path | None = None) -> Day:
    """Look at what every day has in common: sums, nothing lost, nothing doubled, no traceback.

    Args:
        before: what was recorded when it happened.
        record: to look into; None for that of the device.
    """
    after = happened(record or device.record)
    day.sums = adds_up(record or device.record)
    day.before, day.after = len(set(before)), len(set(before) & set(after))
    day.doubled = (day.doubled or 0) + doubled(after)
    day.said = tuple(device.said)
    day.expect(day.sums, "coverage does not add up")
    day.expect(day.before == day.after, "what was recorded is lost")
    day.expect(not day.doubled, "something is there twice")
    day.expect(not device.has_traceback, f"a traceback was shown: {' '.join(device.traceback.split())}")
    return day

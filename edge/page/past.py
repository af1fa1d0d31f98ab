"""Remember what was wrong during a run, also while nobody looked at the page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from edge.page.trouble import STANDS_AFTER_S, Level, Trouble

MOST_PAST: Final = 50
"""Further ones make the oldest go."""

AGAIN_S: Final = 10.0
"""What comes back within so many seconds has not been over."""

REMEMBERED: Final[tuple[Level, ...]] = ("bad", "warn")

_NUMBERS = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True)
class PastTrouble:
    """Say what was wrong, and when.

    Attributes:
        number: from 1, in the order in which they began.
        trouble: as it was said the last time.
        since_s, until_s: seconds since 1970; None as long as it is wrong.
    """

    number: int
    trouble: Trouble
    since_s: float
    until_s: float | None = None

    @property
    def kind(self) -> tuple[str, str]:
        """What makes it one trouble: a text may count seconds."""
        return self.trouble.code, _NUMBERS.sub("", self.trouble.text)

    def as_json(self) -> dict[str, Any]:
        """Return it for the page."""
        trouble = self.trouble
        return {
            "number": self.number, "level": trouble.level, "text": trouble.text,
            "since_s": round(self.since_s, 1),
            "until_s": None if self.until_s is None else round(self.until_s, 1),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Past:
    """Hold the last troubles of a run, the newest last.

    Attributes:
        looked_s: when it was last looked.
    """

    troubles: tuple[PastTrouble, ...] = ()
    looked_s: float | None = None

    def after(self, now: Iterable[Trouble], now_s: float) -> Past:
        """Return the past with what is wrong at a moment.

        Args:
            now: what is wrong.
            now_s: seconds since 1970.
        """
        known = {
            one.kind: one for one in self.troubles if one.until_s is None or now_s - one.until_s < AGAIN_S
        }
        number = self.troubles[-1].number if self.troubles else 0
        changed: dict[int, PastTrouble] = {}
        for trouble in [*self._unanswered(now_s), *(one for one in now if one.level in REMEMBERED)]:
            new = PastTrouble(number + 1, trouble, now_s)
            before = known.get(new.kind)
            number += before is None
            one = new if before is None else replace(before, trouble=trouble, until_s=None)
            changed[one.number] = one
        kept = [
            changed.pop(one.number) if one.number in changed else _over(one, now_s) for one in self.troubles
        ]
        return Past((*kept, *changed.values())[-MOST_PAST:], now_s)

    def over(self, now_s: float) -> Past:
        """Return the past of a run that has ended: nothing is wrong any more."""
        return replace(self, troubles=tuple(_over(one, now_s) for one in self.troubles))

    def _unanswered(self, now_s: float) -> list[Trouble]:
        """Return that inspection did not answer since it was last looked, if it did not."""
        silent_s = 0.0 if self.looked_s is None else now_s - self.looked_s
        if silent_s < STANDS_AFTER_S:
            return []
        return [Trouble("bad", "hangs", f"Inspection did not answer for {silent_s:.0f} s.")]

    def as_json(self) -> list[dict[str, Any]]:
        """Return them for the page, the newest first."""
        return [one.as_json() for one in reversed(self.troubles)]


def _over(one: PastTrouble, now_s: float) -> PastTrouble:
    return one if one.until_s is not None else replace(one, until_s=now_s)

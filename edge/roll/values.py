"""Define the values that a run hands to a roll record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edge.cloth.defects import ClothDefect
from edge.cloth.width import Across, Strip, across_of
from edge.core.events import new_id, utc_now

ROLL_ENDED, ROLL_STARTED = "roll ended", "roll begun"
"""Events of a change of roll: at the end of one, with the id of the next, and at the start of that."""

ROLL_IMPORTED = "roll imported"
"""Event of a roll, or of a part of one, that was read from a file."""

STRIP_NOT_SEEN = "strip not seen"
"""Event of a strip of the cloth that lies between the views of all its cameras, or beside them."""

WIDTH_NOT_SEEN = "width not seen"
"""Event at the end of a roll of which a camera saw less than the width that it is there for."""

RECURS, RECURRED = "defect recurs", "defect recurred"
"""Events of what comes again and again at the same ends of the warp, and of its end."""

RollStatus = Literal["running", "finished", "failed", "interrupted"]


def roll_name_of(utc: str) -> str:
    """Return the name of a roll that nobody named.

    Args:
        utc: when it begins, as `utc_now` gives it.
    """
    return f"roll of {utc[:19]}Z"


@dataclass(frozen=True, slots=True)
class RollTerms:
    """Say how a roll is called and graded.

    Attributes:
        name: None where nobody has given one.
        article: of the cloth; None if nobody said.
        cloth_width_mm: None if it is measured, or not known.
        grade_limits: grade to the most points per 100 square metres.
        offset_mm: from the left selvedge to the left edge of the view; None if that is not known.
    """

    name: str | None = None
    article: str | None = None
    cloth_width_mm: float | None = None
    grade_limits: Mapping[str, float] = field(default_factory=dict)
    offset_mm: float | None = None

    def across(self, measured_mm: float | None, view: Strip | None) -> Across:
        """Return what was to be seen of the width of the cloth, and what was; see `across_of`."""
        return across_of(self.offset_mm, self.cloth_width_mm, measured_mm, view)


@dataclass(frozen=True, slots=True)
class RollHead:
    """Say which roll a run inspects, and with what.

    Attributes:
        name: a roll of this name is continued; None begins a new one, named after the time.
        article: of the cloth; None if nobody said.
        camera: its name, without credentials.
        model_digest: sha256 of the ONNX file.
        settings: of the run, plain values.
        cloth_width_mm: None if it is measured, or not known.
        grade_limits: grade to the most points per 100 square metres.
    """

    camera: str
    model_digest: str
    settings: dict[str, Any]
    name: str | None = None
    article: str | None = None
    cloth_width_mm: float | None = None
    grade_limits: dict[str, float] = field(default_factory=dict)

    def terms(self, name: str | None) -> RollTerms:
        """Return how the roll is called, by the name that it got, and graded."""
        offset_mm = self.settings.get("offset_mm")
        return RollTerms(name, self.article, self.cloth_width_mm, self.grade_limits, offset_mm)


@dataclass(frozen=True, slots=True)
class RecordedDefect:
    """Hold a defect with the id under which it is recorded and announced.

    Attributes:
        defect: in metres of the roll.
        image: file that shows it; None if none was saved.
        small_image: JPEG of it, for the record; None if there is none.
    """

    defect: ClothDefect
    image: str | None = None
    event_id: str = field(default_factory=new_id)
    utc: str = field(default_factory=utc_now)
    small_image: bytes | None = None


@dataclass(frozen=True, slots=True)
class OpenRoll:
    """Say where on a roll a run goes on.

    Attributes:
        started: True if the roll is new.
        reached_line: lines that passed in earlier runs: this run's first line comes behind them.
        passed_lines, inspected_lines, passed_frames, inspected_frames: of earlier runs.
        mm_per_line: of earlier runs; None if not known.
        view: strip of the cloth that they saw on those lines, on average; None if that is not known.
        unplaced_id: event id of what this run could not read and nobody can place.
        started_utc: when this run began with it.
    """

    roll_id: str
    name: str
    started: bool
    reached_line: int = 0
    passed_lines: int = 0
    inspected_lines: int = 0
    passed_frames: int = 0
    inspected_frames: int = 0
    mm_per_line: float | None = None
    view: Strip | None = None
    unplaced_id: str = field(default_factory=new_id)
    started_utc: str = field(default_factory=utc_now)

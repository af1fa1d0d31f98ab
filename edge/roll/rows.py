"""Check rows of a roll record: SQLite puts a value of any type into any column, and disks decay.

A cell that only tells more about a row (an image, a time) is emptied where it is damaged; a row whose
place, name or count cannot be read is damaged as a whole, and set aside by whoever reads it. Both are
counted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.cloth.defects import ClothDefect
from edge.config.roll_header import ONE_LINE
from edge.core.detections import Shape

MOST_M: Final = 1e8
"""No roll is longer: a loom makes a metre in seconds, and this is a hundred years of it."""

BESIDE_M: Final = 100.0
"""A defect or a gap lies at most so far off its roll: cloth that ran back, or a run that was killed."""

MOST_MM: Final = 1e6

Number = Annotated[float, Field(allow_inf_nan=False)]
Metres = Annotated[float, Field(allow_inf_nan=False, ge=-MOST_M, le=MOST_M)]
Millimetres = Annotated[float, Field(allow_inf_nan=False, ge=-MOST_MM, le=MOST_MM)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Name = Annotated[str, Field(min_length=1, max_length=10_000)]
Text = Annotated[str, Field(max_length=100_000)]
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
Utc = Annotated[str, Field(max_length=100)]
RollId = Annotated[Name, Field(pattern=r"^[^+]+$")]
"""Ids of cameras beside each other are joined by `+`."""


class _Cells(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", protected_namespaces=())


class _Settings(_Cells):
    offset_mm: Millimetres | None = None
    cloth_width_mm: Millimetres | None = None
    grade_limits: dict[str, Annotated[float, Field(allow_inf_nan=False, ge=0)]] = {}


def _sound_settings(text: str) -> str:
    _Settings.model_validate(_json_object(text))
    return text


def _json_object(text: str) -> dict[str, Any]:
    """Read an object of JSON.

    Raises:
        ValueError: if it is none.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


class RollCells(_Cells):
    """A row of `rolls`."""

    roll_id: RollId
    name: Name
    article: Name | None
    status: Literal["running", "finished", "failed", "interrupted"]
    started_utc: Utc
    ended_utc: Utc | None
    last_utc: Utc
    camera: Text
    model_digest: Name
    loomsight: Name
    settings: Annotated[str, AfterValidator(_sound_settings)]
    mm_per_line: Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e4)] | None
    cloth_width_mm: Annotated[float, Field(allow_inf_nan=False, ge=0, le=MOST_MM)] | None
    reached_line: Count
    passed_lines: Count
    inspected_lines: Count
    passed_frames: Count
    inspected_frames: Count

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.inspected_lines > self.passed_lines or self.inspected_frames > self.passed_frames:
            raise ValueError("more was inspected than passed")
        if self.passed_lines * (self.mm_per_line or 0.0) / 1000 > MOST_M or self.length_m > MOST_M:
            raise ValueError("longer than any roll")
        return self

    @property
    def length_m(self) -> float:
        """Metres between the first and the last line."""
        return self.reached_line * (self.mm_per_line or 0.0) / 1000


class DefectCells(_Cells):
    """A row of `defects`."""

    event_id: Name
    class_name: Name
    score: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]
    start_m: Metres
    end_m: Metres
    left_mm: Millimetres
    right_mm: Millimetres
    points: Count
    picture: Text | None
    box_xyxy_px: Text | None
    utc: Utc
    shape: Shape | None = None
    kind: Word | None = None

    @model_validator(mode="after")
    def _has_sides(self) -> Self:
        if self.end_m < self.start_m or self.right_mm < self.left_mm:
            raise ValueError("ends before it begins")
        return self

    @property
    def defect(self) -> ClothDefect:
        """The defect as the value it was."""
        return ClothDefect(
            self.class_name,
            self.score,
            self.start_m,
            self.end_m,
            self.left_mm,
            self.right_mm,
            shape=self.shape,
            kind=self.kind,
        )


class GapCells(_Cells):
    """A row of `gaps`."""

    event_id: Name
    lines: Count
    start_m: Metres | None
    end_m: Metres | None
    reason: Name
    utc: Utc

    @model_validator(mode="after")
    def _has_ends(self) -> Self:
        start_m, end_m = self.start_m, self.end_m
        if (start_m is None) != (end_m is None):
            raise ValueError("one end only")
        if start_m is not None and end_m is not None and end_m < start_m:
            raise ValueError("ends before it begins")
        return self


class EventCells(_Cells):
    """A row of `events`."""

    event_id: Name
    kind: Name
    detail: Text
    at_m: Metres | None
    utc: Utc


class ViewCells(_Cells):
    """A row of `views`."""

    left_mm: Millimetres
    right_mm: Millimetres

    @model_validator(mode="after")
    def _has_width(self) -> Self:
        if self.right_mm < self.left_mm:
            raise ValueError("ends before it begins")
        return self


EMPTIED: Final[Mapping[type[_Cells], Mapping[str, Any]]] = {
    RollCells: {
        "article": None, "started_utc": "", "ended_utc": None, "last_utc": "", "camera": "not known",
        "model_digest": "not known", "loomsight": "not known", "settings": "{}", "cloth_width_mm": None,
    },
    DefectCells: {"picture": None, "box_xyxy_px": None, "utc": "", "shape": None, "kind": None},
    GapCells: {"utc": ""},
    EventCells: {"detail": "", "at_m": None, "utc": ""},
}  # fmt: skip
"""What a damaged cell becomes that only tells more; any other makes its row a damaged one."""

Cells = TypeVar("Cells", bound=_Cells)


class DamagedRowError(ValueError):
    """A row of a record cannot be read."""


def cells_of(kind: type[Cells], row: sqlite3.Row) -> tuple[Cells, bool]:
    """Check the cells of a row.

    Returns:
        The cells, and whether one of them had to be emptied.
    Raises:
        DamagedRowError: naming the first cell that is wrong, if the row cannot do without it.
    """
    cells = dict(row)
    try:
        return kind.model_validate(cells), False
    except ValidationError as error:
        emptied = EMPTIED.get(kind, {})
        wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
        if not wrong or not wrong <= emptied.keys():
            raise _damaged(error, wrong - emptied.keys()) from error
        repaired = cells | {name: emptied[name] for name in wrong}
    try:
        return kind.model_validate(repaired), True
    except ValidationError as error:
        raise _damaged(error, set()) from error


def box_of(text: str | None) -> tuple[float, float, float, float] | None:
    """Return a box as it is recorded.

    Raises:
        ValueError: if the text is none.
    """
    if text is None:
        return None
    try:
        sides = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(sides, list) or len(sides) != 4:
        raise ValueError("no box")
    left, top, right, bottom = (_pixel(side) for side in sides)
    return left, top, right, bottom


def data_of(text: object) -> dict[str, Any] | None:
    """Return what an event says to a program; None if that is damaged."""
    try:
        return _json_object(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _pixel(side: object) -> float:
    if isinstance(side, bool) or not isinstance(side, int | float) or not -1e9 < side < 1e9:
        raise ValueError("no pixel")
    return float(side)


def _damaged(error: ValidationError, wrong: set[str]) -> DamagedRowError:
    first = next(
        (one for one in error.errors() if one["loc"] and str(one["loc"][0]) in wrong), error.errors()[0]
    )
    where = f"{first['loc'][0]}: " if first["loc"] else ""
    return DamagedRowError(f"{where}{first['msg']}")

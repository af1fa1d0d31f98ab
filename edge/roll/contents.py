"""Hold what is read from a roll record: a roll with its defects, gaps, events and grade."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final

from edge.cloth.charging import Charging, charging_of
from edge.cloth.defects import ClothDefect, class_and_kind, class_and_shape
from edge.cloth.grading import Grade, area_m2, grade_roll, ten_point_quality
from edge.cloth.width import Across, Strip, clipped, within_part
from edge.config.buyers import BuyerRules

UNKNOWN: Final = "unknown"
"""What a person reads where the kind of a defect is not known."""


@dataclass(frozen=True, slots=True)
class DefectRow:
    """Hold a recorded defect.

    Attributes:
        box_xyxy_px: in its image; None if it has none.
        verdict: a person's, `confirmed` or `rejected`; None if nobody gave one.
        named: class that a person gave it; None if nobody did.
        verdict_by: name of that person; None if the record does not have it.
    """

    event_id: str
    defect: ClothDefect
    points: int
    image: str | None
    box_xyxy_px: tuple[float, float, float, float] | None
    utc: str
    verdict: str | None = None
    named: str | None = None
    verdict_by: str | None = None

    @property
    def called(self) -> str:
        """Its class and kind for a person to read: with the shape of what no detector named."""
        return class_and_kind(self.defect)

    @property
    def kind(self) -> str:
        """Its kind for a person to read."""
        return self.defect.kind or UNKNOWN

    @property
    def class_text(self) -> str:
        """Its class for a person to read: with the shape of what no detector named."""
        return class_and_shape(self.defect)

    @property
    def judged(self) -> str:
        """What a person said of it, and the class they gave it; empty where nobody did."""
        return ", ".join(word for word in (self.verdict, self.named) if word)


@dataclass(frozen=True, slots=True)
class KindSum:
    """Sum up the defects of one kind.

    Attributes:
        kind: category of the taxonomy; None where it is not known.
        class_names: classes that a detector gave them, sorted.
        points: of all of them, before the limit per metre.
        longest_m: of the longest, along the roll or across it.
    """

    kind: str | None
    class_names: tuple[str, ...]
    defects: int
    points: int
    longest_m: float

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "kind": self.kind,
            "classes": list(self.class_names),
            "defects": self.defects,
            "points": self.points,
            "longest_m": round(self.longest_m, 4),
        }


def sums_by_kind(rows: Iterable[DefectRow]) -> tuple[KindSum, ...]:
    """Sum up defects by kind, the kind with the most points first and what is not known last."""
    groups: dict[str | None, list[DefectRow]] = {}
    for row in rows:
        groups.setdefault(row.defect.kind, []).append(row)
    sums = [
        KindSum(
            kind,
            tuple(sorted({row.defect.class_name for row in group})),
            len(group),
            sum(row.points for row in group),
            max(max(row.defect.length_mm, row.defect.breadth_mm) for row in group) / 1000,
        )
        for kind, group in groups.items()
    ]
    return tuple(
        sorted(sums, key=lambda one: (one.kind is None, -one.points, -one.defects, one.kind or ""))
    )


@dataclass(frozen=True, slots=True)
class GapRow:
    """Hold a recorded gap; one of images that could not be read has no place."""

    event_id: str
    lines: int
    start_m: float | None
    end_m: float | None
    reason: str
    utc: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened; see `RecordedEvent`."""

    event_id: str
    kind: str
    detail: str
    at_m: float | None
    utc: str
    data: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SeenTogether:
    """Say what several cameras saw of a roll.

    Attributes:
        across: how much of its width.
        stretches: metres of the roll, and the strips that any camera inspected on them.
    """

    across: Across
    stretches: tuple[tuple[float, tuple[Strip, ...]], ...]

    def inspected_m2(self, part: Strip | None = None) -> float:
        """Return the area that was inspected; of a part of the width, if one is given."""
        area = sum(
            metres * sum(strip.width_mm for strip in (clipped(strips, part) if part else strips)) / 1000
            for metres, strips in self.stretches
        )
        return max(0.0, area)


@dataclass(frozen=True, slots=True)
class Roll:
    """Hold a recorded roll; see the table `rolls` for what the names mean.

    Attributes:
        head: the row of the table.
        defects, gaps, events: in the order of the roll, events in that of time.
        view: strip of the cloth that its camera saw on the lines that it inspected, on average; None if
            the record does not say it.
        together: of several cameras: what they saw; None for one.
        damaged: table to how many rows of it are damaged: they are left out, or what is wrong in them is.
        header: key to text of what stands at the head of its paper; see `RollHeader`.
        buyer: name of the one by whose rules it is graded and cut; None for the default rules.
        rules: by which it is graded and cut.
    """

    head: dict[str, Any]
    defects: tuple[DefectRow, ...]
    gaps: tuple[GapRow, ...]
    events: tuple[EventRow, ...]
    view: Strip | None = None
    together: SeenTogether | None = None
    damaged: Mapping[str, int] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)
    buyer: str | None = None
    rules: BuyerRules = field(default_factory=BuyerRules)

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.head["name"])

    @property
    def m_per_line(self) -> float:
        """Metres per line; 0 where the camera knew no position."""
        return (self.head["mm_per_line"] or 0.0) / 1000

    @property
    def length_m(self) -> float:
        """Metres between the first and the last line."""
        return float(self.head["reached_line"] * self.m_per_line)

    @property
    def inspected_m(self) -> float:
        """Metres that were inspected."""
        return float(self.head["inspected_lines"] * self.m_per_line)

    @property
    def coverage(self) -> float | None:
        """Fraction of the length that passed that was inspected, by lines or, without any, by frames."""
        unit = "lines" if self.head["passed_lines"] else "frames"
        passed = self.head[f"passed_{unit}"]
        return self.head[f"inspected_{unit}"] / passed if passed else None

    @property
    def across(self) -> Across:
        """How much of the width of the cloth was seen."""
        if self.together is not None:
            return self.together.across
        offset_mm, width_mm = self.settings.get("offset_mm"), self.head["cloth_width_mm"]
        left_mm = max(offset_mm or 0.0, 0.0)
        if width_mm is None:
            return Across(None, None if self.view is None else (self.view,))
        if self.view is None and self.settings.get("cloth_width_mm") is None:
            width_mm = max(0.0, width_mm - left_mm)  # older programs measured from the left selvedge
        part = Strip(left_mm, left_mm + width_mm)
        return within_part(part, self.view, is_placed=offset_mm is not None)

    @property
    def width_mm(self) -> float | None:
        """Width of the cloth, or of the part of it that the camera is there for; None if not known."""
        return self.across.width_mm

    @property
    def inspected_m2(self) -> float | None:
        """Area that was inspected; None where the width of the cloth is not known."""
        if self.together is not None:
            return self.together.inspected_m2()
        return area_m2(self.inspected_m, self.across.seen_mm)

    @property
    def graded_across(self) -> Across:
        """How much was seen of the width that is graded: without the edges that the rules ignore."""
        return self.across.without_edges(self.rules.ignored_edge_mm)

    @property
    def graded_m2(self) -> float | None:
        """Inspected area without ignored edges; None where the width of the cloth is not known."""
        if not self.rules.ignored_edge_mm:
            return self.inspected_m2
        across = self.graded_across
        if self.together is not None:
            return self.together.inspected_m2(across.part)
        return area_m2(self.inspected_m, across.seen_mm)

    @property
    def charging(self) -> Charging:
        """How its defects are charged."""
        return charging_of(self.rules, self.width_mm)

    @property
    def charged_rows(self) -> tuple[DefectRow, ...]:
        """Defects that are charged: not those that lie wholly in an ignored edge."""
        edge_mm, part = self.rules.ignored_edge_mm, self.graded_across.part
        if not edge_mm:
            return self.defects
        right_mm = inf if part is None else part.right_mm
        return tuple(
            row for row in self.defects if row.defect.right_mm > edge_mm and row.defect.left_mm < right_mm
        )

    @property
    def area_coverage(self) -> float | None:
        """Fraction of the area that passed that was inspected; None where width or length is not known."""
        passed_m2 = area_m2(self.head["passed_lines"] * self.m_per_line, self.width_mm)
        inspected_m2 = self.inspected_m2
        if not passed_m2 or inspected_m2 is None:
            return None
        is_whole = self.coverage == 1 and not self.across.unseen
        return 1.0 if is_whole else min(1.0, inspected_m2 / passed_m2)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the run, plain values."""
        settings: dict[str, Any] = json.loads(self.head["settings"])
        return settings

    @property
    def grade_limits(self) -> dict[str, float]:
        """Grade to the most points per 100 square metres, as the rules or the run had them."""
        if self.rules.system == "ten-point":
            return {}
        if self.rules.grade_limits is not None:
            return self.rules.grade_limits
        limits: dict[str, float] = self.settings.get("grade_limits", {})
        return limits

    @property
    def grade(self) -> Grade:
        """The roll's grade by what is recorded up to now."""
        return self._graded(self.charged_rows)

    def _graded(self, rows: Iterable[DefectRow]) -> Grade:
        grade = grade_roll((row.defect for row in rows), self.graded_m2, self.grade_limits, self.charging)
        if self.rules.system != "ten-point":
            return grade
        return replace(grade, grade=ten_point_quality(grade.points, self.inspected_m))

    @property
    def by_kind(self) -> tuple[KindSum, ...]:
        """Its defects summed up by kind, the kind with the most points first."""
        return sums_by_kind(self.defects)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many defects people confirmed and rejected; empty where nobody judged any."""
        counts = Counter(row.verdict for row in self.defects if row.verdict)
        return {verdict: counts[verdict] for verdict in ("confirmed", "rejected") if counts[verdict]}

    @property
    def grade_after_review(self) -> Grade:
        """The grade without the defects that a person rejected."""
        return self._graded(row for row in self.charged_rows if row.verdict != "rejected")

    def facts(self) -> dict[str, Any]:
        """Return what a person wants to know first, plain values."""
        shown = (
            "roll_id",
            "name",
            "article",
            "status",
            "started_utc",
            "ended_utc",
            "camera",
            "model_digest",
        )
        gap_m: dict[str, float] = {}
        for gap in self.gaps:
            gap_m[gap.reason] = gap_m.get(gap.reason, 0.0) + gap.lines * self.m_per_line
        known, across = bool(self.m_per_line), self.across
        return {name: self.head[name] for name in shown} | {
            "length_m": round(self.length_m, 4) if known else None,
            "inspected_m": round(self.inspected_m, 4) if known else None,
            "coverage": _rounded(self.coverage, 6),
            "gaps_m": {reason: round(metres, 4) for reason, metres in gap_m.items()},
            "width_mm": _rounded(across.width_mm, 1),
            "seen_width_mm": _rounded(across.seen_mm, 1),
            "inspected_m2": _rounded(self.inspected_m2, 4) if known else None,
            "area_coverage": _rounded(self.area_coverage, 6),
            "defects": len(self.defects),
            "by_kind": [one.as_json() for one in self.by_kind],
            **self.grade.as_json(),
            "verdicts": self.verdicts,
            "after_review": self.grade_after_review.as_json() if self.verdicts else None,
            "header": dict(self.header),
            "damaged_rows": dict(self.damaged),
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

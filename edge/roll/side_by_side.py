"""Merge the records of cameras that saw one roll side by side.

Each camera has a record of its own, in metres of the roll and millimetres from the left selvedge. Put
together, a line counts as inspected where every camera inspected it, and a defect that reaches from the
view of one into that of another is one. The area that is graded is what any camera inspected, counted once.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from edge.cloth.defects import TOUCH_MM
from edge.cloth.grading import points_of
from edge.cloth.one_report import is_part, one_report
from edge.cloth.width import Across, Strip, joined, seen_strips, together
from edge.core.errors import RecordError
from edge.roll.contents import DefectRow, EventRow, GapRow, Roll, SeenTogether
from edge.roll.reading import read_roll
from edge.roll.values import STRIP_NOT_SEEN

WORST_FIRST = ("failed", "interrupted", "running", "finished")
CURE = "Name the records of cameras beside each other, of the same roll."


def read_roll_beside(paths: Sequence[Path], name: str | None) -> Roll:
    """Read a roll from the records of all cameras that looked at it.

    Args:
        paths: one record of each camera.
        name: as for `read_roll`; None for the last one of the first record.
    Raises:
        RecordError: as `read_roll`, or if the rolls do not belong together.
    """
    first = read_roll(paths[0], name)
    others = [read_roll(path, first.name) for path in paths[1:]]
    return put_together([*zip(map(str, paths), [first, *others], strict=True)])


def put_together(rolls: Sequence[tuple[str, Roll]]) -> Roll:
    """Make one roll of those of cameras beside each other; the only one is returned as it is.

    Args:
        rolls: each behind what its record is called.
    Raises:
        RecordError: if a record is there twice, the rolls are not of one article, or one has no metres or
            no place across the cloth.
    """
    first = rolls[0][1]
    if len(rolls) == 1:
        return first
    _check(rolls)
    views = {_short(record, rolls): roll for record, roll in rolls}
    missed_by = {view: _missed(view, roll, _reached_m(views)) for view, roll in views.items()}
    gaps = _gaps(missed_by, first)
    reached = _line(_reached_m(views), first)
    missed = sum(gap.lines for gap in gaps if gap.start_m is not None)
    lengths = {
        "reached_line": reached,
        "passed_lines": reached + sum(gap.lines for gap in gaps if gap.start_m is None),
        "inspected_lines": reached - missed,
    }
    across = together([roll.across for roll in views.values()])
    seen = SeenTogether(across, _inspected_stretches(views, missed_by, reached, first))
    events = (*_blind_strips(across, first), *_events(views))
    damaged: Counter[str] = Counter()
    for roll in views.values():
        damaged.update(roll.damaged)
    head = _head(views) | lengths | {"cloth_width_mm": across.width_mm}
    header = dict(ChainMap(*(dict(roll.header) for roll in views.values())))
    return Roll(head, tuple(_defects(views)), gaps, events, together=seen, damaged=damaged, header=header)


def _check(rolls: Sequence[tuple[str, Roll]]) -> None:
    ids = [roll.head["roll_id"] for _, roll in rolls]
    if len(set(ids)) < len(ids):
        raise RecordError("A roll of a record is named twice.", CURE)
    for record, roll in rolls:
        if not roll.m_per_line or roll.settings.get("offset_mm") is None or roll.width_mm is None:
            raise RecordError(
                f"{record}: where roll '{roll.name}' lies is not known.",
                "Give each camera mm_per_px, offset_mm and cloth_width_mm, and inspect the next roll so.",
            )
    if len({roll.head["article"] for _, roll in rolls}) > 1:
        raise RecordError("The rolls are of different articles.", CURE)


def _short(record: str, rolls: Sequence[tuple[str, Roll]]) -> str:
    """Call a record by the name of its file, if no other has that, too."""
    stems = [Path(other).stem for other, _ in rolls]
    return Path(record).stem if stems.count(Path(record).stem) == 1 else record


def _head(views: dict[str, Roll]) -> dict[str, Any]:
    heads = [roll.head for roll in views.values()]
    ended = [head["ended_utc"] for head in heads]
    digests = sorted({head["model_digest"] for head in heads})
    return heads[0] | {
        "roll_id": "+".join(head["roll_id"] for head in heads),
        "status": min((head["status"] for head in heads), key=WORST_FIRST.index),
        "started_utc": min(head["started_utc"] for head in heads),
        "ended_utc": None if None in ended else max(ended),
        "camera": ", ".join(f"{view}: {roll.head['camera']}" for view, roll in views.items()),
        "model_digest": digests[0] if len(digests) == 1 else "several",
        "passed_frames": sum(head["passed_frames"] for head in heads),
        "inspected_frames": sum(head["inspected_frames"] for head in heads),
    }


def _blind_strips(across: Across, first: Roll) -> Iterator[EventRow]:
    """Yield an event for each strip of the cloth that no camera sees."""
    for left_mm, right_mm in across.unseen:
        detail = f"No camera sees the cloth {left_mm:.0f} to {right_mm:.0f} mm from its left selvedge."
        event_id = f"{first.head['roll_id']} blind {left_mm:.0f}"
        yield EventRow(event_id, STRIP_NOT_SEEN, detail, None, first.head["started_utc"])


def _events(views: dict[str, Roll]) -> list[EventRow]:
    events = [
        replace(event, detail=f"{view}: {event.detail}")
        for view, roll in views.items()
        for event in roll.events
    ]
    return sorted(events, key=lambda event: event.utc)


@dataclass(frozen=True, slots=True)
class _Sighted:
    """A defect, and which cameras saw it."""

    row: DefectRow
    views: frozenset[str]


def _defects(views: dict[str, Roll]) -> list[DefectRow]:
    """Return the defects along the roll; those of different cameras that touch are one."""
    sighted = [_Sighted(row, frozenset({view})) for view, roll in views.items() for row in roll.defects]
    sighted.sort(key=lambda one: one.row.defect.start_m)
    done: list[DefectRow] = []
    reachable: list[_Sighted] = []
    for new in sighted:
        start_m = new.row.defect.start_m - TOUCH_MM / 1000
        done += [old.row for old in reachable if old.row.defect.end_m < start_m]
        reachable = [old for old in reachable if old.row.defect.end_m >= start_m]
        apart = []
        for old in reachable:
            if _is_same(old, new):
                new = _Sighted(_joined(old.row, new.row), old.views | new.views)
            else:
                apart.append(old)
        reachable = [*apart, new]
    done += [one.row for one in reachable]
    return sorted(done, key=lambda row: row.defect.start_m)


def _is_same(one: _Sighted, other: _Sighted) -> bool:
    ours, theirs = one.row.defect, other.row.defect
    if one.views == other.views:
        return False
    return is_part(ours, theirs) or (ours.class_name == theirs.class_name and ours.touches(theirs))


def _joined(one: DefectRow, other: DefectRow) -> DefectRow:
    """Make one row of two: the image is that of the one that scores higher; a confirmation wins."""
    better = one if one.defect.score >= other.defect.score else other
    is_one_class = one.defect.class_name == other.defect.class_name
    defect = one.defect.joined(other.defect) if is_one_class else one_report([one.defect, other.defect])
    verdicts = sorted({one.verdict, other.verdict} - {None}, key=str)
    return replace(
        better,
        defect=defect,
        points=points_of(defect),
        verdict=verdicts[0] if verdicts else None,
        named=better.named or one.named or other.named,
        verdict_by=_judges(one, other, verdicts[0] if verdicts else None),
    )


def _judges(one: DefectRow, other: DefectRow, verdict: str | None) -> str | None:
    """Name who gave the verdict that counts."""
    who = {row.verdict_by for row in (one, other) if row.verdict == verdict}
    return ", ".join(sorted(name for name in who if name)) or None


def _missed(view: str, roll: Roll, reached_m: float) -> list[GapRow]:
    """Return what a camera did not inspect of what any reached, each with its name."""
    gaps = (*roll.gaps, *_behind_the_end(roll, reached_m))
    return [replace(gap, reason=f"{gap.reason} ({view})") for gap in gaps]


def _gaps(missed_by: dict[str, list[GapRow]], first: Roll) -> tuple[GapRow, ...]:
    """Return where not every camera inspected: stretches side by side, each with who missed it and why."""
    missed = [gap for gaps in missed_by.values() for gap in gaps]
    stretches: list[GapRow] = []
    for start, stop, covering in _stretches(missed, first):
        if covering:
            _add_stretch(stretches, covering, start, stop, first.m_per_line)
    return (*stretches, *(gap for gap in missed if gap.start_m is None))


def _stretches(gaps: Sequence[GapRow], first: Roll) -> Iterator[tuple[int, int, list[GapRow]]]:
    """Yield lines [start, stop) of the first camera between ends of gaps, with the gaps that cover them."""
    edges: dict[int, list[GapRow]] = {}
    for gap in gaps:
        if gap.start_m is not None and gap.end_m is not None:
            edges.setdefault(_line(gap.start_m, first), []).append(gap)
            edges.setdefault(_line(gap.end_m, first), [])
    covering: list[GapRow] = []
    for start, stop in pairwise(sorted(edges)):
        covering = [gap for gap in covering + edges[start] if _line(gap.end_m, first) > start]
        yield start, stop, covering


def _inspected_stretches(
    views: dict[str, Roll], missed_by: dict[str, list[GapRow]], reached: int, first: Roll
) -> tuple[tuple[float, tuple[Strip, ...]], ...]:
    """Return metres of the roll, each with the strips of it that any camera inspected."""
    view_of = {id(gap): view for view, gaps in missed_by.items() for gap in gaps}
    missed = [gap for gaps in missed_by.values() for gap in gaps]
    everyone: frozenset[str] = frozenset()
    lines_without = Counter({everyone: reached})
    for start, stop, covering in _stretches(missed, first):
        lines = max(0, min(stop, reached) - max(start, 0))
        if lines and covering:
            lines_without[everyone] -= lines
            lines_without[frozenset(view_of[id(gap)] for gap in covering)] += lines
    return tuple(
        (lines * first.m_per_line, _seen_strips(views, without)) for without, lines in lines_without.items()
    )


def _seen_strips(views: dict[str, Roll], without: frozenset[str]) -> tuple[Strip, ...]:
    """Return the strips that cameras saw, but for some of them."""
    return joined(seen_strips(roll.across for view, roll in views.items() if view not in without))


def _behind_the_end(roll: Roll, reached_m: float) -> Iterator[GapRow]:
    """Yield the stretch that others saw behind a camera's last line."""
    lines = round((reached_m - roll.length_m) / roll.m_per_line)
    if lines > 0:
        head = roll.head
        yield GapRow(head["roll_id"], lines, roll.length_m, reached_m, "ended before", head["last_utc"])


def _add_stretch(
    stretches: list[GapRow], covering: Sequence[GapRow], start: int, stop: int, m_per_line: float
) -> None:
    """Add lines, in place; to the stretch before them, if that has the same reasons."""
    reason = ", ".join(sorted({gap.reason for gap in covering}))
    before = stretches[-1] if stretches else None
    if before and before.reason == reason and before.end_m == start * m_per_line:
        start -= stretches.pop().lines
    event_id = "+".join(gap.event_id for gap in covering)
    utc = max(gap.utc for gap in covering)
    stretches.append(GapRow(event_id, stop - start, start * m_per_line, stop * m_per_line, reason, utc))


def _reached_m(views: dict[str, Roll]) -> float:
    return max(roll.length_m for roll in views.values())


def _line(at_m: float | None, first: Roll) -> int:
    """Return the line of the first camera at a place."""
    return round((at_m or 0.0) / first.m_per_line)

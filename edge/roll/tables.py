"""Print rolls on the terminal, as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from edge.core.counted import counted
from edge.process.terminal import as_cell
from edge.process.whole_table import WholeTable, wide_console
from edge.roll.buyers import buyer_facts, is_accepted, refusals
from edge.roll.contents import UNKNOWN, Roll
from edge.roll.local_time import local_from_utc, shown_time
from edge.roll.lot import Lot

MOST_SHOWN = 50
ANSWERS = {True: "yes", False: "no", None: "unknown"}


def print_rolls(rolls: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print the facts of rolls, one line each."""
    if as_json:
        print(json.dumps(list(rolls), indent=1))
        return
    table = WholeTable("roll", "article", "status", "started", "inspected", "coverage", "defects", "grade")
    for facts in rolls:
        length, covered = facts["inspected_m"], facts["area_coverage"]
        covered = facts["coverage"] if covered is None else covered
        table.add_row(
            as_cell(facts["name"]),
            as_cell(facts["article"] or "—"),
            as_cell(facts["status"]),
            as_cell(shown_time(local_from_utc(facts["started_utc"])) or "—"),
            "—" if length is None else f"{length:.2f} m",
            "—" if covered is None else f"{covered:.2%}",
            str(facts["defects"]),
            as_cell(_graded(facts)),
        )
    wide_console().print(table)


def print_lot(lot: Lot, as_json: bool) -> None:
    """Print the rolls of a lot, one line each, and whether the buyer accepts them and the lot."""
    if as_json:
        print(json.dumps(lot.as_json(), indent=1))
        return
    table = WholeTable("roll", "graded", "points", "per 100 m²", "grade", "accepted", "why not")
    for one in lot.rolls:
        table.add_row(
            as_cell(one.name),
            _measured(one.graded_m2, ".2f", " m²"),
            str(one.grade.points),
            _measured(one.grade.points_per_100_m2, ".1f"),
            as_cell(one.grade.grade or "unknown"),
            ANSWERS[is_accepted(one)],
            as_cell(" ".join(refusals(one))),
        )
    table.add_section()
    table.add_row(
        f"lot of {counted(len(lot.rolls), 'roll')}",
        _measured(lot.graded_m2, ".2f", " m²"),
        str(lot.points),
        _measured(lot.points_per_100_m2, ".1f"),
        "",
        ANSWERS[lot.is_accepted],
        as_cell(" ".join(lot.refusals)),
    )
    wide_console().print(table)


def _measured(value: float | None, form: str, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:{form}}{unit}"


def print_roll(roll: Roll, as_json: bool) -> None:
    """Print one roll with its first defects and gaps; all of them with `as_json`."""
    facts = roll.facts() | buyer_facts(roll)
    if as_json:
        defects = [
            {
                "event_id": row.event_id,
                **row.defect.as_json(),
                "points": row.points,
                "image": row.image,
                "verdict": row.verdict,
                "named": row.named,
                "verdict_by": row.verdict_by,
            }
            for row in roll.defects
        ]
        gaps = [{"start_m": gap.start_m, "end_m": gap.end_m, "reason": gap.reason} for gap in roll.gaps]
        events = [
            {"utc": event.utc, "kind": event.kind, "detail": event.detail, "data": event.data}
            for event in roll.events
        ]
        print(json.dumps(facts | {"defect_list": defects, "gaps": gaps, "events": events}, indent=1))
        return
    console = wide_console()
    table = WholeTable("", "", title=as_cell(roll.name), show_header=False, title_justify="left")
    kinds = ", ".join(f"{one.kind or UNKNOWN} {one.defects}" for one in roll.by_kind) or "none"
    for name, value in (facts | {"by_kind": kinds}).items():
        table.add_row(name, as_cell(_shown(value)))
    console.print(table)
    _print_defects(roll, console)
    for gap in roll.gaps[:MOST_SHOWN]:
        place = "somewhere" if gap.start_m is None else f"{gap.start_m:.3f} to {gap.end_m:.3f} m"
        _print_line(console, f"gap   {place}  {gap.lines * roll.m_per_line:.3f} m  {gap.reason}")
    for event in roll.events[:MOST_SHOWN]:
        when = shown_time(local_from_utc(event.utc)) or "—"
        _print_line(console, f"event {when}  {event.kind}: {event.detail}")
    most = max(len(roll.defects), len(roll.gaps), len(roll.events))
    if most > MOST_SHOWN:
        console.print(f"at most {MOST_SHOWN} of each; --json and `roll export` give all")


def _print_defects(roll: Roll, console: Console) -> None:
    if not roll.defects:
        return
    table = WholeTable("class", "kind", "from m", "to m", "left mm", "right mm", "points", "score")
    for row in roll.defects[:MOST_SHOWN]:
        defect = row.defect
        places = (f"{defect.start_m:.3f}", f"{defect.end_m:.3f}", f"{defect.left_mm:.0f}")
        table.add_row(
            as_cell(row.class_text),
            as_cell(row.kind),
            *places,
            f"{defect.right_mm:.0f}",
            str(row.points),
            f"{defect.score:.2f}",
        )
    console.print(table)


def _print_line(console: Console, text: str) -> None:
    """Print a line as it is; the terminal wraps it."""
    console.print(as_cell(text), highlight=False, soft_wrap=True)


def _graded(facts: dict[str, Any]) -> str:
    per_area = facts["points_per_100_m2"]
    if per_area is None:
        return "unknown"
    return f"{facts['grade'] or 'no limits'} ({per_area:.1f})"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "—" if value is None else str(value)

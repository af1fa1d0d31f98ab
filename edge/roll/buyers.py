"""Grade a roll by the rules of a buyer, and say whether the buyer accepts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.cloth.grading import points_of
from edge.config.buyers import BuyerRules
from edge.config.device import box_from_process
from edge.core.counted import counted
from edge.core.errors import ConfigError
from edge.roll.contents import Roll
from edge.roll.document import Buyer


def rules_of(buyer: str, file: Path | None) -> BuyerRules:
    """Return the rules of a buyer.

    Args:
        buyer: name of a table `[buyers."NAME"]`.
        file: settings of `edge-run`, or a file of these tables alone; None for the environment alone.
    Raises:
        ConfigError: if the file is wrong, or has no such buyer.
    """
    buyers = box_from_process(file, {})[0].config.buyers
    if buyer not in buyers:
        known = ", ".join(buyers)
        source = "no --config is given" if file is None else f"{file} has none of that name"
        cure = (
            f"Permitted: {known}."
            if known
            else f'Write a table [buyers."{buyer}"] into the file of --config.'
        )
        raise ConfigError(f"There are no rules of buyer '{buyer}': {source}.", cure)
    return buyers[buyer]


def for_buyer(roll: Roll, buyer: str | None, file: Path | None) -> Roll:
    """Return a roll graded by the rules of a buyer in a file; as it is where no buyer is named.

    Raises:
        ConfigError: as `rules_of`, or if a file is given without a buyer.
    """
    if buyer is not None:
        return with_rules(roll, buyer, rules_of(buyer, file))
    if file is not None:
        raise ConfigError(f"--config {file} is given without a buyer.", "Add --buyer NAME.")
    return roll


def with_rules(roll: Roll, buyer: str, rules: BuyerRules) -> Roll:
    """Return a roll graded by the rules of a buyer; a defect in an ignored edge is charged no points."""
    ruled = replace(roll, buyer=buyer, rules=rules)
    charging, charged = ruled.charging, {row.event_id for row in ruled.charged_rows}
    rows = tuple(
        replace(row, points=points_of(row.defect, charging) if row.event_id in charged else 0)
        for row in ruled.defects
    )
    return replace(ruled, defects=rows)


def refusals(roll: Roll) -> list[str]:
    """Return why the rules refuse a roll, in sentences."""
    rules, per_area, reasons = roll.rules, roll.grade.points_per_100_m2, []
    if rules.roll_points is not None and per_area is not None and per_area > rules.roll_points:
        reasons.append(
            f"The roll has {per_area:.1f} points per 100 m²; at most {rules.roll_points:g} are permitted."
        )
    if rules.refuse_running_defects:
        charging = roll.charging
        running = [row.defect for row in roll.charged_rows if charging.is_running(row.defect)]
        if running:
            longest_m = max(defect.end_m - defect.start_m for defect in running)
            reasons.append(
                f"The roll has {counted(len(running), 'running defect')}, of up to {longest_m:.2f} m."
            )
    return reasons


def is_accepted(roll: Roll) -> bool | None:
    """Tell whether the rules accept a roll; None where something that they limit is not known."""
    if refusals(roll):
        return False
    unknown_points = roll.rules.roll_points is not None and roll.grade.points_per_100_m2 is None
    unknown_lengths = roll.rules.refuse_running_defects and not roll.m_per_line
    return None if unknown_points or unknown_lengths else True


def buyer_part(roll: Roll) -> Buyer | None:
    """Return what the document of a roll says of its buyer; None where it has none."""
    if roll.buyer is None:
        return None
    area = roll.graded_m2
    return Buyer(
        name=roll.buyer,
        rules=roll.rules,
        graded_m2=None if area is None or not roll.m_per_line else round(area, 4),
        accepted=is_accepted(roll),
        refusals=tuple(refusals(roll)),
    )


def buyer_facts(roll: Roll) -> dict[str, Any]:
    """Return the buyer's answer for a person or a program; empty where a roll has no buyer."""
    part = buyer_part(roll)
    return (
        {}
        if part is None
        else {
            "buyer": part.name,
            "graded_m2": part.graded_m2,
            "accepted": part.accepted,
            "refusals": list(part.refusals),
        }
    )

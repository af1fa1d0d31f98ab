"""Write what a roll report says of its buyer: the rules in one table, and whether they accept the roll."""

from __future__ import annotations

from edge.cloth.charging import charging_of
from edge.config.buyers import BuyerRules, PointRow
from edge.roll.document import Buyer, RollDocument
from edge.roll.markup import paragraph, section, table

SYSTEMS = {
    "four-point": "Four-point system (ASTM D5430)",
    "ten-point": "Ten-point system",
    "own": "Points of the buyer",
}
ANSWERS = {True: "accepted", False: "refused", None: "not known: length or width of the roll is not known"}


def system_name(rules: BuyerRules) -> str:
    """Return the name of a point system for a person to read."""
    return SYSTEMS[rules.system]


def buyer_section(document: RollDocument) -> str:
    """Write the section on the buyer; empty where the roll has none."""
    buyer = document.buyer
    if buyer is None:
        return ""
    return section(
        f"Rules of {buyer.name}",
        *(paragraph(reason, "warn") for reason in buyer.refusals),
        table(("rule", "value"), [("This roll", ANSWERS[buyer.accepted]), *_rules(document, buyer)]),
        name="whole",
    )


def _rules(document: RollDocument, buyer: Buyer) -> list[tuple[str, str]]:
    """Return the rules that hold for this roll, each with its value for a person to read."""
    rules, plan = buyer.rules, document.cut_plan
    charging = charging_of(rules, document.inspection.width_mm)
    least = f"a {rules.unit}" if charging.running_m is None else f"{charging.running_m:g} m"
    running = f"longer than {least}: {charging.along[-1][1]} points in each {rules.unit}"
    edges = f"{rules.ignored_edge_mm:g} mm on each side"
    if buyer.graded_m2 is not None:
        edges += f"; {buyer.graded_m2:.2f} m² are graded"
    limits = {"piece": plan.most_points_per_100_m2, "roll": rules.roll_points, "lot": rules.lot_points}
    rows = {
        "System": system_name(rules) + (f": {_sizes(rules.point_table)}" if rules.point_table else ""),
        f"Most points of a linear {rules.unit}": f"{charging.most_points}",
        "Running defects": running + ("; refuse the roll" if rules.refuse_running_defects else ""),
        "Holes": "up to 25.4 mm 2 points, larger 4" if rules.astm_holes else "",
        "Ignored edges": edges if rules.ignored_edge_mm else "",
        "Cut out of all pieces": ", ".join(rules.cut_out),
        "Shortest piece": f"{plan.least_m:g} m",
        "Most points per 100 m²": ", ".join(
            f"{what} {most:g}" for what, most in limits.items() if most is not None
        ),
    }
    return [(rule, value) for rule, value in rows.items() if value]


def _sizes(table_of_points: tuple[PointRow, ...]) -> str:
    return ", ".join(
        f"larger {row.points}" if row.up_to_mm is None else f"up to {row.up_to_mm:g} mm {row.points}"
        for row in table_of_points
    )

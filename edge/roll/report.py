"""Render a roll as one printable page: HTML that needs nothing beside it, for a buyer to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from html import escape
from importlib import resources

from edge.config.buyers import BuyerRules
from edge.core.counted import counted
from edge.core.palette import class_colour, stylesheet
from edge.roll.appendix import appendix
from edge.roll.compose import document_of, strips_text
from edge.roll.contents import Roll
from edge.roll.cuts import PieceRequest
from edge.roll.document import CutPlan, Header, Inspection, RollDocument, Waste
from edge.roll.drawing import draw_map, row_length_m, sides_mm
from edge.roll.images import images_of
from edge.roll.local_time import shown_span
from edge.roll.markup import facts, paragraph, section, table
from edge.roll.report_buyer import buyer_section, system_name
from edge.roll.report_defects import MOST_ROWS, defects_section, images_section, kinds_section


def report_page(
    roll: Roll,
    wanted: PieceRequest | None = None,
    zone: tzinfo | None = None,
    small_images: Mapping[str, bytes] | None = None,
) -> str:
    """Write the report of a roll.

    Args:
        roll: as the record has it.
        wanted: what a piece has to be, for the suggestion where to cut; None for the default.
        zone: of its times; None for that of this device.
        small_images: id of a defect -> JPEG in the record.
    Returns:
        A whole HTML page. It loads nothing, runs nothing, and every text in it is escaped.
    """
    return page_of(document_of(roll, wanted, zone), images_of(roll, small_images))


def page_of(document: RollDocument, images: Mapping[int, bytes | None]) -> str:
    """Write the page of a document.

    Args:
        document: all that the page says.
        images: number of a defect -> JPEG, in the order in which they are to be left out where there are
            too many; None where an image is missing.
    """
    sections = [
        _head(document),
        _grade(document),
        buyer_section(document),
        *(paragraph(remark, "warn") for remark in document.remarks),
        _map(document),
        kinds_section(document),
        _cuts(document),
        _not_inspected(document.inspection),
        defects_section(document),
        images_section(document, images),
        appendix(document, MOST_ROWS),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    title = escape(f"{document.header.title}, {document.header.roll}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_style(document.header)}</style></head>\n"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _style(header: Header) -> str:
    """Return the style, with the name of the roll for the foot of each printed page."""
    sheet = resources.files("edge.roll").joinpath("report.css").read_text(encoding="utf-8")
    named = f"{header.title}, roll {header.roll}" + (f", {header.mill}" if header.mill else "")
    return f"{stylesheet(dark=False)}{sheet}@page {{ @bottom-left {{ content: {_css_text(named)}; }} }}\n"


def _css_text(text: str) -> str:
    """Return a text as CSS has it; what is no letter or digit is written as its number."""
    return '"' + "".join(one if one.isalnum() else f"\\{ord(one):06x}" for one in text) + '"'


def _head(document: RollDocument) -> str:
    header = document.header
    given = {
        "Mill": header.mill,
        "Customer": header.customer,
        "Article": header.article,
        "Roll": header.roll,
        "Machine": header.machine,
        "Operator": header.operator,
        "Shift": header.shift,
        "Inspected": shown_span(document.started, document.ended),
    }
    shown = {name: value for name, value in given.items() if value}
    return f"<h1>{escape(header.title or '')}</h1>{facts(shown, 'head')}"


def _grade(document: RollDocument) -> str:
    grading, seen = document.grading, document.inspection
    known = {
        "Grade": grading.grade or "unknown",
        "Points per 100 m²": _number(grading.points_per_100_m2, ".1f"),
        "Points": str(grading.points),
        "Defects": str(len(document.defects)),
        "Length inspected": _of(seen.inspected_m, seen.length_m, ".2f", "m"),
        "Coverage of the length": _fraction(seen.coverage),
        "Width seen": _seen_width(seen),
        "Area inspected": _number(seen.inspected_m2, ".2f", " m²"),
        "Coverage of the area": _fraction(seen.area_coverage),
    }
    return facts(known) + paragraph(_basis(document), "sub") + _reviewed(document)


def _basis(document: RollDocument) -> str:
    """Say what the grade is by."""
    rules = document.buyer.rules if document.buyer else BuyerRules()
    if rules.system == "ten-point":
        return f"{system_name(rules)}: first quality if the points do not exceed the yards inspected."
    limits = ", ".join(
        f"{name} up to {most:g}"
        for name, most in sorted(document.grading.limits.items(), key=lambda item: item[1])
    )
    note = f"{system_name(rules)}; points per 100 m² of the area that was inspected"
    return f"{note}: {limits or 'no limits set'}."


def _reviewed(document: RollDocument) -> str:
    """Say what people judged, and how the roll would stand without what they rejected."""
    review = document.review
    if review is None:
        return ""
    counts = {"confirmed": review.confirmed, "rejected": review.rejected}
    said = " and ".join(f"{verdict} {count}" for verdict, count in counts.items() if count)
    text = f"People {said} of {counted(len(document.defects), 'defect')}."
    if review.rejected and review.points_per_100_m2 is not None:
        grade = f", {review.grade}" if review.grade else ""
        text += (
            f" Without those that were rejected: {review.points_per_100_m2:.1f} points per 100 m²{grade}."
        )
    return paragraph(text)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:{form}}{unit}"


def _of(part: float | None, whole: float | None, form: str, unit: str) -> str:
    """Write a part of a whole."""
    return "unknown" if part is None or whole is None else f"{part:{form}} of {whole:{form}} {unit}"


def _seen_width(seen: Inspection) -> str:
    """Say how much of the width was seen, and of how much."""
    if seen.seen_width_mm is None:
        return "unknown" if seen.width_mm is None else f"not recorded, of {seen.width_mm:.0f} mm"
    if seen.width_mm is None:
        return f"{seen.seen_width_mm:.0f} mm"
    return _of(seen.seen_width_mm, seen.width_mm, ".0f", "mm")


def _fraction(fraction: float | None) -> str:
    """Write a fraction so that only all of it is called 100 %."""
    if fraction is None:
        return "unknown"
    return "100 %" if fraction == 1 else f"{min(fraction * 100, 99.99):.2f} %"


def _map(document: RollDocument) -> str:
    drawn = draw_map(document)
    if not drawn:
        return section("Map", paragraph("The camera knew no position: there is no map."))
    names = sorted({defect.class_name for defect in document.defects})
    swatches = [f"<i style='background:{class_colour(name).hex}'></i>{escape(name)}" for name in names]
    if document.inspection.strips_not_seen or document.inspection.not_inspected:
        swatches.append("<i class='bare'></i>not inspected")
    if document.cut_plan.pieces:
        swatches.append("<i class='piece'></i>good piece")
    if document.cut_plan.cut_out:
        swatches.append("<i class='must-cut'></i>must be cut out")
    legend = "".join(f"<span>{swatch}</span>" for swatch in swatches)
    left, right = sides_mm(document)
    metres = row_length_m(document.inspection.length_m or 0.0)
    scale = (
        f"Each row shows {metres:g} m of the roll, from left to right, in its width from {left:.0f} mm "
        f"(left selvedge, above) to {right:.0f} mm."
    )
    return section("Map", paragraph(scale, "sub"), drawn, f"<p class='legend'>{legend}</p>")


def _cuts(document: RollDocument) -> str:
    title, plan = "Where to cut", document.cut_plan
    wanted = f"at least {plan.least_m:g} m"
    if plan.most_points_per_100_m2 is not None:
        wanted += f" with at most {plan.most_points_per_100_m2:g} points per 100 m²"
    if plan.most_points_per_yard is not None:
        wanted += f" with at most {plan.most_points_per_yard:g} point per yard"
    if plan.unknown is not None:
        return section(title, paragraph(f"Pieces of {wanted}: unknown, as {plan.unknown}."))
    if not plan.pieces:
        return section(title, paragraph(f"There is no piece of {wanted}."))
    length = document.inspection.length_m or 0.0
    note = f"{counted(len(plan.pieces), 'piece')} of {wanted}: {plan.kept_m:.2f} of {length:.2f} m."
    strips = document.inspection.strips_not_seen
    warn = f"No piece was seen in its whole width: {strips_text(list(strips))} were not." if strips else ""
    warned = paragraph(warn, "warn") if warn else ""
    return section(title, paragraph(note), warned, _plan_table(plan), name="whole")


def _plan_table(plan: CutPlan) -> str:
    """List pieces and what lies between them, in the order of the roll."""
    rows: list[tuple[float, Sequence[str]]] = [
        (
            one.start_m,
            (
                f"piece {one.number}",
                f"{one.start_m:.2f}",
                f"{one.end_m:.2f}",
                f"{one.length_m:.2f}",
                f"{one.inspected_m2:.2f}",
                str(one.points),
                f"{one.points_per_100_m2:.1f}",
            ),
        )
        for one in plan.pieces
    ]
    rows += [
        (
            one.start_m,
            (
                _waste(one, plan),
                f"{one.start_m:.2f}",
                f"{one.end_m:.2f}",
                f"{one.length_m:.2f}",
                "",
                "",
                "",
            ),
        )
        for one in plan.waste
    ]
    names = ("what", "from m", "to m", "length m", "inspected m²", "points", "per 100 m²")
    return table(names, [row for _, row in sorted(rows)], range(1, 7))


def _waste(waste: Waste, plan: CutPlan) -> str:
    """Name a stretch between pieces, with the kinds in it that must be cut out."""
    inside = (one for one in plan.cut_out if one.start_m < waste.end_m and one.end_m > waste.start_m)
    kinds = sorted({kind for one in inside for kind in one.kinds})
    return f"cut out: {', '.join(kinds)}" if kinds else "cut out"


def _not_inspected(seen: Inspection) -> str:
    parts = []
    if seen.strips_not_seen:
        strips = strips_text(list(seen.strips_not_seen))
        parts.append(paragraph(f"Along the whole roll, from the left selvedge: {strips}."))
    if seen.not_inspected:
        rows = [(one.reason, f"{one.length_m:.3f}") for one in seen.not_inspected_by_reason]
        count = counted(len(seen.not_inspected), "stretch", "stretches")
        parts.append(paragraph(f"{count} of the roll, hatched on the map and listed in the appendix:"))
        parts.append(table(("why", "length m"), rows, (1,)))
    else:
        parts.append(paragraph(_no_gap(seen)))
    return section("Not inspected", *parts, name="whole")


def _no_gap(seen: Inspection) -> str:
    """Say what was inspected where there is no gap, and no more than that."""
    if seen.coverage is None or not seen.length_m:
        return "No line of cloth was counted."
    if seen.width_mm is None or seen.seen_width_mm is None:
        return "No delivered line was missed. How much of the width of the cloth was seen is not known."
    if seen.strips_not_seen:
        return "No delivered line was missed in the width that was seen."
    return "Nothing: every line delivered was inspected, in its whole width."

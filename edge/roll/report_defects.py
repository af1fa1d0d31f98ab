"""Write the parts of a report's page that are about defects: sums by class and kind, table, images."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

from edge.core.counted import counted
from edge.core.palette import class_colour
from edge.roll.document import Defect, RollDocument
from edge.roll.drawing import called
from edge.roll.images import MOST_IMAGES
from edge.roll.local_time import shown_clocks
from edge.roll.markup import paragraph, section, table

MOST_ROWS = 2000
"""Of a table; a page with more of them opens in no browser."""

KEEP_IMAGES = (
    "No images were kept with this roll. An edge-run of this version keeps a small one of each defect in "
    "its --roll-record; --save-pictures FOLDER keeps the whole frames, too."
)


def kinds_section(document: RollDocument) -> str:
    """Add defects up by class and kind, the most points first."""
    if not document.kinds:
        return ""
    has_kind = any(one.kind for one in document.kinds)
    most = max(one.points for one in document.kinds) or 1
    total = sum(one.points for one in document.kinds) or 1
    rows, passed = [], 0
    for one in document.kinds:
        passed += one.points
        kind = (one.kind or "unknown",) if has_kind else ()
        rows.append(
            (one.class_name, *kind, one.defects, f"{one.length_m:.3f}", one.points, f"{passed / total:.0%}")
        )
    names = ("class", *(("kind",) if has_kind else ()), "defects", "length m", "points", "points so far")
    first = 1 + has_kind
    colours = [class_colour(one.class_name).hex for one in document.kinds]
    names_of_bars = [
        f"{one.class_name}, {one.kind or 'unknown'}" if has_kind else one.class_name
        for one in document.kinds
    ]
    bars = "".join(
        f'<div><span>{escape(name)}</span><b style="width:{one.points / most:.1%};'
        f'background:{colour}"></b><span>{one.points}</span></div>'
        for name, one, colour in zip(names_of_bars, document.kinds, colours, strict=True)
    )
    note = paragraph("Points of each defect by itself, before the limit of a linear metre or yard.", "sub")
    drawn = table(names, rows, range(first, first + 4), colours)
    chart = f'<div class="bars" aria-hidden="true">{bars}</div>' if len(rows) > 1 else ""
    return section("What was found", drawn, chart, note, name="whole")


def defects_section(document: RollDocument) -> str:
    """List every graded defect."""
    defects = document.defects
    if not defects:
        return section("Defects", paragraph("None were found in what was inspected."))
    has_kind, has_verdict = any(one.kind for one in defects), any(one.verdict for one in defects)
    shown = defects[:MOST_ROWS]
    names = [
        "no",
        "class",
        *(["kind"] if has_kind else []),
        "from m",
        "to m",
        "left mm",
        "right mm",
        "points",
    ]
    day, clocks = shown_clocks([one.time for one in shown])
    names += ["confidence", *(["verdict"] if has_verdict else []), f"time, {day}" if day else "time"]
    rows = []
    for one, clock in zip(shown, clocks, strict=True):
        row = [str(one.number), one.class_name + (f" ({one.shape})" if one.shape else "")]
        row += [one.kind or "unknown"] if has_kind else []
        row += [f"{one.start_m:.3f}", f"{one.end_m:.3f}", f"{one.left_mm:.0f}", f"{one.right_mm:.0f}"]
        row += [str(one.points), f"{one.score:.2f}", *([judged(one)] if has_verdict else [])]
        rows.append([*row, clock])
    first = names.index("from m")
    colours = [class_colour(one.class_name).hex for one in shown]
    drawn = table(names, rows, (0, *range(first, first + 6)), colours)
    return section("Defects", left_out(len(defects), MOST_ROWS), drawn)


def judged(defect: Defect) -> str:
    """Say what a person said of a defect, and the class they gave it; empty where nobody did."""
    return ", ".join(word for word in (defect.verdict, defect.named) if word)


def left_out(count: int, most: int) -> str:
    """Say how many rows a table leaves out; nothing where that is none."""
    if count <= most:
        return ""
    return paragraph(f"The first {most} of {count}; loomsight roll export writes all.")


def images_section(document: RollDocument, images: Mapping[int, bytes | None]) -> str:
    """Show every defect that has an image, in the order of the roll."""
    if not document.defects:
        return ""
    if not images:
        return section("Images", paragraph(KEEP_IMAGES))
    missing, without = sum(data is None for data in images.values()), len(document.defects) - len(images)
    notes = []
    if missing:
        notes.append(paragraph(f"Missing or unreadable images: {missing}.", "warn"))
    if without and len(images) >= MOST_IMAGES:
        notes.append(paragraph(f"The worst {len(images)} of {len(document.defects)}."))
    elif without:
        notes.append(paragraph(f"{counted(without, 'defect')} without an image."))
    figures = [
        _figure(one, data) for one in document.defects if (data := images.get(one.number)) is not None
    ]
    return section("Images", *notes, f'<div class="images">{"".join(figures)}</div>')


def _figure(defect: Defect, data: bytes) -> str:
    text = f"{defect.number}: {called(defect)}, {defect.start_m:.3f} m"
    verdict = judged(defect)
    text += f", {verdict}" if verdict else ""
    size = f"{defect.length_m * 1000:.0f} mm long, {defect.width_mm:.0f} mm wide"
    size += f", {counted(defect.points, 'point')}"
    image = base64.b64encode(data).decode()
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/jpeg;base64,{image}">'
        f"<figcaption><b>{escape(text)}</b><br>{escape(size)}</figcaption></figure>"
    )

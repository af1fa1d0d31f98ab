"""Export the document of a roll for other programs: as JSON, as JSON lines, and its defects as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Final

from edge.roll.document import Defect, DefectRecord, RollDocument

OF_THE_ROLL: Final = ("roll", "article")
OF_THE_RECORD: Final = tuple(name for name in DefectRecord.model_fields if name != "number")
COLUMNS: Final = (*OF_THE_ROLL, *Defect.model_fields, *OF_THE_RECORD)
"""Of the CSV: the names of the JSON document."""

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run text that begins so; an apostrophe in front of it keeps it text (OWASP, CSV
injection)."""


def as_json(document: RollDocument) -> str:
    """Return the whole document; `json_schema` describes it."""
    return document.model_dump_json(indent=1) + "\n"


def as_csv(document: RollDocument) -> str:
    """Return the defects as CSV (RFC 4180), with a line of names."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    own = (document.header.roll, document.header.article)
    for values in _defects(document):
        writer.writerow([*map(_cell, own), *(_cell(values[name]) for name in COLUMNS[len(own) :])])
    return out.getvalue()


def as_json_lines(document: RollDocument) -> str:
    """Return JSON lines: first the roll, then a line for each defect, gap and event; nulls are left out."""
    whole = document.model_dump(mode="json")
    technical = whole.pop("technical")
    lists = {name: technical.pop(name) for name in ("gaps", "events", "defects")}
    del whole["defects"]
    lines = [{"type": "roll", **whole, "technical": technical}]
    lines += [{"type": "defect", **values} for values in _defects(document)]
    lines += [{"type": "gap", **values} for values in lists["gaps"]]
    lines += [{"type": "event", **values} for values in lists["events"]]
    return "".join(json.dumps(_without_nulls(line)) + "\n" for line in lines)


def _defects(document: RollDocument) -> Iterator[dict[str, Any]]:
    """Yield each defect with what the record has of it."""
    for defect, record in zip(document.defects, document.technical.defects, strict=True):
        yield defect.model_dump(mode="json") | record.model_dump(mode="json")


def _without_nulls(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if value is not None}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text

"""Convert decisions and regions to lines of `reviews.jsonl` and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from distill.labels.review.decisions import Action, ReviewDecision
from distill.labels.sets.annotations import Region
from distill.labels.sets.attributes import attributes_from, attributes_of, box_from, polygon_from


def line_of(decision: ReviewDecision, at: str) -> bytes:
    """Return the line of a decision; `at` is the time, for people."""
    record: dict[str, Any] = {
        "number": decision.number,
        "at": at,
        "image": decision.image_name,
        "action": decision.action,
        "place": decision.place,
        "was": record_of(decision.was),
        "now": record_of(decision.now),
    }
    if decision.by is not None:
        record["by"] = decision.by
    if decision.undoes is not None:
        record["undoes"] = decision.undoes
    if decision.base is not None:
        record["base"] = [record_of(region) for region in decision.base]
    return encoded(record)


def encoded(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line; a file name that is no text comes back as it was."""
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def decision_of(record: Mapping[str, Any]) -> ReviewDecision:
    """Read a decision.

    Raises:
        ValueError: if something is missing or of another kind.
    """
    try:
        base, undoes, by = record.get("base"), record.get("undoes"), record.get("by")
        if record["action"] not in get_args(Action):
            raise ValueError(f"there is no action '{record['action']}'")
        return ReviewDecision(
            int(record["number"]),
            str(record["image"]),
            record["action"],
            int(record["place"]),
            region_of(record["was"]),
            region_of(record["now"]),
            None if base is None else tuple(region for one in base if (region := region_of(one))),
            None if undoes is None else int(undoes),
            None if by is None else str(by),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks {error}") from error


def record_of(region: Region | None) -> dict[str, Any] | None:
    """Return all that is known of a region as plain values."""
    if region is None:
        return None
    outline = [list(corner) for corner in region.polygon_xy_px or ()]
    place = {"label": region.label, "box": list(region.box_xyxy_px)}
    return place | ({"polygon": outline} if outline else {}) | attributes_of(region)


def region_of(record: Mapping[str, Any] | None) -> Region | None:
    """Read what `record_of` returns.

    Raises:
        ValueError: if it is not that.
    """
    if record is None:
        return None
    attributes, wrong = attributes_from(record)
    if wrong:
        raise ValueError(wrong[0])
    outline = record.get("polygon")
    polygon = polygon_from(number for corner in outline for number in corner) if outline else None
    return Region(str(record["label"]), box_from(record["box"]), polygon, **attributes)

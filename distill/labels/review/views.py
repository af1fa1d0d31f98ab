"""Build what the page shows, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2

from distill.labels.review.decisions import ReviewDecision
from distill.labels.review.order import Wanted, found_by, regions_in_order
from distill.labels.review.session import Session
from distill.labels.sets.annotations import Region
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError
from edge.core.palette import class_colour

QUICK_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def overview(session: Session) -> dict[str, Any]:
    """Return what stays the same during a review."""
    kinds = [kind for kind in session.taxonomy.kinds if kind.parent in session.class_names]
    return {
        "classes": [name for name in session.class_names if name],
        "kinds": [{"category": kind.category, "name": str(kind)} for kind in kinds],
        "problems": [f"{name}: {line}" for name, line in session.problems.items()],
        "queued": len(session.order("queued")),
    }


def image_view(
    session: Session, wanted: Wanted, *, name: str | None = None, position: int | None = None
) -> dict[str, Any]:
    """Return one image with its regions.

    Args:
        session: of the review.
        wanted: which images `position` counts.
        name: of the image; one that is not wanted is shown all the same.
        position: used without a name; without either it is the first image that is not done.
    Raises:
        DatasetError: if there is no such image.
    """
    order = session.order(wanted)
    if name is None:
        if not order:
            raise DatasetError("Nothing is queued.", "Look at all images.")
        place = _first_open(session, order) if position is None else min(max(position, 0), len(order) - 1)
        name = order[place]
    image = session.image(name)
    undo, people = session.next_undo(), session.deciders(name)
    return {
        "image": name,
        "position": order.index(name) if name in order else None,
        "count": len(order),
        "split": image.split,
        "group": image.group,
        "size": [image.size_hw_px[1], image.size_hw_px[0]],
        "version": session.version(name),
        "regions": [
            {**region_view(region), "is_decided": place in people, "by": people.get(place)}
            for place, region in enumerate(image.regions)
        ],
        "order": regions_in_order(image),
        "queued": session.count("queued"),
        "unreviewed": session.count("unreviewed"),
        "undo": _said(undo) if undo else None,
    }


def _said(decision: ReviewDecision) -> str:
    by = f" by {decision.by}" if decision.by else ""
    return f"{decision.action} in {decision.image_name}{by}"


def region_view(region: Region) -> dict[str, Any]:
    """Return a region as the page draws it."""
    return {
        "label": region.label,
        "colour": class_colour(region.label).hex,
        "category": region.category,
        "phrase": region.phrase,
        "score": region.score,
        "found_by": found_by(region),
        "review": region.review,
        "box": list(region.box_xyxy_px),
        "polygon": [list(corner) for corner in region.polygon_xy_px or ()],
    }


def png_of(session: Session, name: str) -> bytes:
    """Return an image as the browser can show it: turned and scaled like its labels, 8 bits.

    Raises:
        DatasetError: if there is no such image, or it cannot be decoded.
    """
    image = session.image(name)
    return cv2.imencode(".png", decoded(session.root / image.file_name), QUICK_PNG)[1].tobytes()


def _first_open(session: Session, order: Sequence[str]) -> int:
    """Return the place of the first image in which something is queued; 0 if there is none."""
    for place, name in enumerate(order):
        if any(region.review == "queued" for region in session.image(name).regions):
            return place
    return 0

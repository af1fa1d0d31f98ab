"""Build the JSON of the roll that the page draws: what is new since the page last asked."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge.cloth.defects import ClothDefect
from edge.core.palette import class_colour
from edge.page.live import LivePage
from edge.page.snapshot import Snapshot
from edge.roll.contents import DefectRow
from edge.roll.images import cut_image
from edge.roll.reading import defect_row, defects_table, look_into, recorded_across
from edge.roll.reviews import reviews_after
from edge.roll.rows import Cells, DamagedRowError, EventCells, GapCells, RollCells, cells_of
from edge.roll.small_images import small_image, with_small_image

MOST_GAPS: Final = 5000
"""The last gaps of a roll are drawn; a roll with more is hatched all over."""

MOST_AT_ONCE: Final = 1000
"""Defects in one answer; `more` says that others wait."""

LAST_EVENTS: Final = 12

EVENT_ID: Final = re.compile(r"[0-9a-f]{32}")


class Known(NamedTuple):
    """Say what a page has already.

    Attributes:
        roll: id of the roll that the rest is about.
        defect, review: number of the last one; 0 for none.
        gaps: mark of the gaps.
        record: how often the record was replaced: the numbers hold in that one only.
    """

    roll: str = ""
    defect: int = 0
    review: int = 0
    gaps: str = ""
    record: int = 0


def changes(live: LivePage, known: Known) -> dict[str, Any]:
    """Return the roll, with the defects, verdicts and gaps that a page does not have yet.

    Raises:
        RecordError: if the record cannot be read: it is damaged, or kept by another program.
    """
    recorder, roll_id = live.recorder, live.roll_id
    if recorder is None or roll_id is None:
        return _from_run(live, known)
    start = Known(roll_id, record=recorder.times_replaced)  # a newer record is read again from its start

    def read(db: sqlite3.Connection) -> dict[str, Any]:
        row = db.execute("SELECT * FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone()
        if row is None:
            return _waiting(live, start)
        return _from_record(db, cells_of(RollCells, row)[0], known if _is_of(known, start) else start)

    return look_into(recorder.path, read)


def recorded_image(path: Path, event_id: str) -> bytes | None:
    """Return a JPEG of a recorded defect: cut out of its saved frame, else the small one of the record.

    Returns:
        None if there is no such defect, or no image of it.
    Raises:
        RecordError: if the record cannot be read.
    """
    if not EVENT_ID.fullmatch(event_id):
        return None

    def read(db: sqlite3.Connection) -> tuple[DefectRow | None, bytes | None]:
        query = f"SELECT * FROM {defects_table(db)} WHERE event_id = ?"
        row = db.execute(query, (event_id,)).fetchone()
        return defect_row(row) if row else None, small_image(db, event_id)

    row, small = look_into(path, read)
    return (cut_image(row) if row else None) or small


def saved_image(path: Path, event_id: str) -> bytes | None:
    """Return the file that `--save-pictures` wrote of a recorded defect.

    Returns:
        None if there is no such defect, or its file is not there (any more).
    Raises:
        RecordError: if the record cannot be read.
    """
    if not EVENT_ID.fullmatch(event_id):
        return None

    def read(db: sqlite3.Connection) -> DefectRow | None:
        query = f"SELECT * FROM {defects_table(db)} WHERE event_id = ?"
        row = db.execute(query, (event_id,)).fetchone()
        return defect_row(row) if row else None

    row = look_into(path, read)
    if row is None or row.image is None or not row.image.endswith(".png"):
        return None
    try:
        return read_bytes(Path(row.image), IMAGE_BYTES)
    except ConfigError:
        return None


def _is_of(known: Known, start: Known) -> bool:
    return (known.roll, known.record) == (start.roll, start.record)


def _of_snapshot(roll_id: str, now: Snapshot) -> dict[str, Any]:
    """Return what a roll is called and how large it is, as the run itself counts it."""
    terms, across = now.run.terms, now.run.across
    return {
        "roll": roll_id,
        "name": terms.name,
        "article": terms.article,
        "length_m": now.length_m,
        "width_mm": across.width_mm,
        "left_mm": across.part.left_mm if across.part else 0.0,
        "unseen": across.unseen,
    }


def _waiting(live: LivePage, start: Known) -> dict[str, Any]:
    """Return a roll that could not be recorded yet: it waits in memory with all that is on it."""
    now = live.snapshot
    return {
        **_of_snapshot(start.roll, now),
        "known": start._asdict(),
        "more": False,
        "forgotten": 0,
        "defects": [],
        "verdicts": [],
        "gaps": [],
        "events": [],
    }


def _from_record(db: sqlite3.Connection, head: RollCells, known: Known) -> dict[str, Any]:
    roll_id = head.roll_id
    query = (
        f"SELECT defects.rowid AS number, * FROM {defects_table(db)} "
        "WHERE roll_id = ? AND defects.rowid > ? ORDER BY defects.rowid LIMIT ?"
    )
    rows = db.execute(query, (roll_id, known.defect, MOST_AT_ONCE + 1)).fetchall()
    found, more = rows[:MOST_AT_ONCE], len(rows) > MOST_AT_ONCE
    verdicts, last_review = _verdicts(db, roll_id, known.review)
    mark, gaps = _gaps(db, roll_id, known.gaps)
    across = recorded_across(db, head)
    defects = [(defect, row["number"]) for row in found if (defect := defect_row(row)) is not None]
    small = with_small_image(db, (defect.event_id for defect, _ in defects))
    return {
        "roll": roll_id,
        "name": head.name,
        "article": head.article,
        "length_m": head.length_m,
        "width_mm": across.width_mm,
        "left_mm": across.part.left_mm if across.part else 0.0,
        "unseen": across.unseen,
        "known": {
            "roll": roll_id,
            "defect": found[-1]["number"] if found else known.defect,
            "review": last_review,
            "gaps": mark,
            "record": known.record,
        },
        "more": more,
        "forgotten": 0,
        "defects": [
            _recorded(defect, number, has_small_image=defect.event_id in small)
            for defect, number in defects
        ],
        "verdicts": verdicts,
        "gaps": gaps,
        "events": _events(db, roll_id),
    }


def _verdicts(db: sqlite3.Connection, roll_id: str, after: int) -> tuple[list[list[str | None]], int]:
    """Return what people said since: id of the defect, verdict, class that they gave it, their name."""
    new = reviews_after(db, roll_id, after)
    return [[event_id, *review] for _, event_id, review in new], new[-1][0] if new else after


def _gaps(db: sqlite3.Connection, roll_id: str, known: str) -> tuple[str, list[list[Any]] | None]:
    """Return a mark of the gaps, and the gaps with a place; None if they are those that are known."""
    sums = "SELECT count(*), total(lines), max(rowid), max(start_line) FROM gaps WHERE roll_id = ?"
    mark = "-".join(str(value) for value in db.execute(sums, (roll_id,)).fetchone())
    if mark == known:
        return mark, None
    query = "SELECT * FROM gaps WHERE roll_id = ? AND start_m IS NOT NULL ORDER BY start_line DESC LIMIT ?"
    gaps = _sound(GapCells, db.execute(query, (roll_id, MOST_GAPS)))
    return mark, [
        [round(gap.start_m, 3), round(gap.end_m, 3), gap.reason]
        for gap in reversed(gaps)
        if gap.start_m is not None and gap.end_m is not None
    ]


def _events(db: sqlite3.Connection, roll_id: str) -> list[dict[str, str]]:
    query = "SELECT * FROM events WHERE roll_id = ? ORDER BY rowid DESC LIMIT ?"
    events = _sound(EventCells, db.execute(query, (roll_id, LAST_EVENTS)))
    return [event.model_dump(include={"kind", "detail", "utc"}) for event in events]


def _sound(kind: type[Cells], rows: Iterable[sqlite3.Row]) -> list[Cells]:
    """Return the rows that are not damaged; the report of the roll counts the others."""
    sound = []
    for row in rows:
        with suppress(DamagedRowError):
            sound.append(cells_of(kind, row)[0])
    return sound


def _recorded(row: DefectRow, number: int, *, has_small_image: bool) -> dict[str, Any]:
    return {
        "id": row.event_id,
        "number": number,
        "image": row.image is not None or has_small_image,
        "utc": row.utc,
        "frame": None,
        **_place(row.defect),
    }


def _from_run(live: LivePage, known: Known) -> dict[str, Any]:
    """Return the roll of a run without a record: there are no ids, and nothing is from before it."""
    now = live.snapshot
    run_id, number = live.device.run_id, now.run.roll_number
    roll_id = run_id if number == 1 else f"{run_id}.{number}"
    known = known if known.roll == roll_id else Known()
    first = max(0, known.defect - now.defects_before)
    new = now.defects[first : first + MOST_AT_ONCE]
    before = now.defects_before + first
    last = before + len(new)
    mark = f"{len(now.gaps)}-{sum(gap.end_m - gap.start_m for gap in now.gaps):.6f}"
    gaps = [
        [round(gap.start_m + now.origin_m, 3), round(gap.end_m + now.origin_m, 3), gap.reason]
        for gap in now.gaps
    ]
    return {
        **_of_snapshot(roll_id, now),
        "known": Known(roll_id, last, gaps=mark)._asdict(),
        "more": last < now.defects_before + len(now.defects),
        "forgotten": max(0, now.defects_before - known.defect),
        "defects": [
            {
                "id": str(before + number),
                "number": before + number,
                "image": False,
                "utc": None,
                "frame": defect.seen.frame_id if defect.seen and live.frames.again else None,
                **_place(defect, now.origin_m),
            }
            for number, defect in enumerate(new, start=1)
        ],
        "verdicts": [],
        "gaps": None if mark == known.gaps else gaps,
        "events": [],
    }


def _place(defect: ClothDefect, origin_m: float = 0.0) -> dict[str, Any]:
    return {
        "label": defect.class_name,
        "colour": class_colour(defect.class_name).hex,
        "shape": defect.shape,
        "kind": defect.kind,
        "score": round(defect.score, 3),
        "start_m": round(defect.start_m + origin_m, 4),
        "end_m": round(defect.end_m + origin_m, 4),
        "left_mm": round(defect.left_mm, 1),
        "right_mm": round(defect.right_mm, 1),
    }

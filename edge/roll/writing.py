"""Write into a roll record, each change in one transaction."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge import __version__
from edge.cloth.coverage import Coverage
from edge.cloth.gaps import Gap
from edge.cloth.grading import Grade, grade_roll, points_of
from edge.core.counted import of_all
from edge.core.errors import ConfigError
from edge.core.events import RecordedEvent, new_id, utc_now
from edge.roll.headers import write_header
from edge.roll.reading import recorded_roll, recorded_view
from edge.roll.rows import DamagedRowError
from edge.roll.values import OpenRoll, RecordedDefect, RollHead, RollStatus, roll_name_of

logger = logging.getLogger(__name__)

MOST_MM_PER_LINE: Final = 1e4
MOST_LINES: Final = 2**53

MOST_SMALL_IMAGES_KEPT: Final = 100_000
"""In a record of many rolls: with some 10 kB each, a gigabyte."""


def close_interrupted(db: sqlite3.Connection) -> list[str]:
    """Close the rolls that a killed run left open.

    Returns:
        Their names.
    """
    rolls = db.execute("SELECT * FROM rolls WHERE status = 'running'").fetchall()
    for roll in rolls:
        detail = f"the run ended without a word; it last wrote at {roll['last_utc']}"
        insert_event(db, roll["roll_id"], RecordedEvent("roll interrupted", detail))
        end_roll(db, roll["roll_id"], "interrupted", _settings_of(roll["settings"]), roll["last_utc"])
    return [str(roll["name"]) for roll in rolls]


def _settings_of(text: object) -> dict[str, Any]:
    """Return the settings of a recorded roll; of a row that is damaged, none."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        values = None
    return values if isinstance(values, dict) else {}


def begin_roll(db: sqlite3.Connection, head: RollHead) -> OpenRoll:
    """Begin a roll, or go on with the last one of that name.

    Raises:
        ConfigError: if the roll of that name has another article.
    """
    known = None
    if head.name is not None:
        query = "SELECT * FROM rolls WHERE name = ? ORDER BY rowid DESC LIMIT 1"
        known = db.execute(query, (head.name,)).fetchone()
    if known is not None and not _is_whole(known):
        insert_event(db, known["roll_id"], RecordedEvent("roll damaged", "its row cannot be gone on with"))
        logger.warning(
            "the row of roll '%s' in the record is damaged: a new roll is started", known["name"]
        )
        known = None
    if known is None:
        roll = new_roll(head)
        insert_roll(db, roll, head)
        return roll
    if head.article and known["article"] and known["article"] != head.article:
        raise ConfigError(
            f"--roll {head.name} is recorded as article '{known['article']}', not '{head.article}'.",
            "Name another roll, or leave --article away.",
        )
    db.execute(
        "UPDATE rolls SET status = 'running', ended_utc = NULL, last_utc = ?, "
        "article = coalesce(article, ?), settings = ?, "
        "points = NULL, points_per_100_m2 = NULL, grade = NULL WHERE roll_id = ?",
        (utc_now(), head.article, json.dumps(head.settings), known["roll_id"]),
    )
    write_header(db, known["roll_id"], head.settings.get("roll_header"))
    detail = f"camera {head.camera}, model {head.model_digest}; cloth that passed in between was not seen"
    at_m = known["reached_line"] * (known["mm_per_line"] or 0.0) / 1000
    insert_event(db, known["roll_id"], RecordedEvent("roll continued", detail, at_m))
    own = ("roll_id", "name", "started", "view", "unplaced_id", "started_utc")
    kept = {name: known[name] for name in OpenRoll.__slots__ if name not in own}
    view = recorded_view(db, known["roll_id"])
    return OpenRoll(known["roll_id"], known["name"], False, view=view, **kept)


def _is_whole(roll: sqlite3.Row) -> bool:
    """Tell whether the row of a roll holds numbers where numbers belong."""
    counts = ("reached_line", "passed_lines", "inspected_lines", "passed_frames", "inspected_frames")
    return all(isinstance(roll[name], int) and 0 <= roll[name] <= MOST_LINES for name in counts) and (
        roll["mm_per_line"] is None or _is_number(roll["mm_per_line"], 0.0, MOST_MM_PER_LINE)
    )


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and least <= value <= most


def insert_defect(db: sqlite3.Connection, roll_id: str, recorded: RecordedDefect) -> None:
    """Record a defect; one that is recorded already stays as it is."""
    defect, seen = recorded.defect, recorded.defect.seen
    db.execute(
        "INSERT OR IGNORE INTO defects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            recorded.event_id,
            roll_id,
            defect.class_name,
            defect.score,
            defect.start_m,
            defect.end_m,
            defect.left_mm,
            defect.right_mm,
            points_of(defect),
            recorded.image,
            json.dumps([round(side, 1) for side in seen.box_xyxy_px]) if seen else None,
            recorded.utc,
        ),
    )
    if recorded.small_image is not None:
        _insert_small_image(db, recorded.event_id, recorded.small_image)
    if defect.shape is not None:
        db.execute("INSERT OR IGNORE INTO shapes VALUES (?, ?)", (recorded.event_id, defect.shape))
    if defect.kind is not None:
        db.execute("INSERT OR IGNORE INTO kinds VALUES (?, ?)", (recorded.event_id, defect.kind))


def _insert_small_image(db: sqlite3.Connection, event_id: str, jpeg: bytes) -> None:
    """Record a small image; beyond the most that a record keeps, the oldest makes room."""
    done = db.execute("INSERT OR IGNORE INTO small_images VALUES (?, ?)", (event_id, jpeg))
    if done.rowcount and done.lastrowid is not None:
        oldest = done.lastrowid - MOST_SMALL_IMAGES_KEPT
        db.execute("DELETE FROM small_images WHERE rowid <= ?", (oldest,))


def insert_event(db: sqlite3.Connection, roll_id: str | None, event: RecordedEvent) -> None:
    """Record an event; one that is recorded already stays as it is."""
    db.execute(
        "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)",
        (event.event_id, roll_id, event.kind, event.detail, event.at_m, event.utc),
    )
    if event.data is not None:
        db.execute(
            "INSERT OR IGNORE INTO event_data VALUES (?, ?)", (event.event_id, json.dumps(event.data))
        )


def write_coverage(
    db: sqlite3.Connection,
    roll: OpenRoll,
    coverage: Coverage,
    changed_from: int | None,
    width_mm: float | None,
) -> None:
    """Bring the gaps and the sums of a roll up to date; together they are exact at any moment.

    Args:
        changed_from: line of the camera from which on gaps changed; None if none did.
        width_mm: of the part of the cloth that the camera is there for; None if not known.
    """
    shift = roll.reached_line - coverage.first_line
    if changed_from is not None:
        gaps = coverage.gap_list.ending_from(changed_from)
        _replace_gaps(
            db, roll, max(roll.reached_line, changed_from + shift), gaps, shift, coverage.m_per_line
        )
    _write_unplaced(db, roll, coverage)
    lost = coverage.frames_lost + coverage.frames_without_cloth
    db.execute(
        "UPDATE rolls SET last_utc = ?, mm_per_line = coalesce(mm_per_line, ?), reached_line = ?, "
        "passed_lines = ?, inspected_lines = ?, passed_frames = ?, inspected_frames = ?, "
        "cloth_width_mm = coalesce(?, cloth_width_mm) WHERE roll_id = ?",
        (
            utc_now(),
            coverage.mm_per_line,
            coverage.reached_line + shift,
            roll.passed_lines + coverage.lines_delivered,
            roll.inspected_lines + coverage.lines_inspected,
            roll.passed_frames + coverage.frames_inspected + lost,
            roll.inspected_frames + coverage.frames_inspected,
            width_mm,
            roll.roll_id,
        ),
    )
    view = coverage.view.strip(roll.view, roll.inspected_lines)
    if view is not None:
        db.execute("INSERT OR REPLACE INTO views VALUES (?, ?, ?)", (roll.roll_id, *view))


def end_roll(
    db: sqlite3.Connection,
    roll_id: str,
    status: RollStatus,
    settings: dict[str, Any],
    ended_utc: str | None = None,
) -> None:
    """Close a roll and grade it by what is recorded of it."""
    grade = _grade_of(db, roll_id, _limits_of(settings))
    db.execute(
        "UPDATE rolls SET status = ?, ended_utc = ?, points = ?, points_per_100_m2 = ?, grade = ? "
        "WHERE roll_id = ?",
        (status, ended_utc or utc_now(), grade.points, grade.points_per_100_m2, grade.grade, roll_id),
    )


def _limits_of(settings: dict[str, Any]) -> dict[str, float]:
    """Return the limits of the grades among recorded settings; nothing that is no limit."""
    limits = settings.get("grade_limits")
    if not isinstance(limits, dict):
        return {}
    return {str(name): most for name, most in limits.items() if _is_number(most, 0.0, float("inf"))}


def _grade_of(db: sqlite3.Connection, roll_id: str, limits: Mapping[str, float]) -> Grade:
    """Grade what is recorded of a roll; of one whose own row is damaged nothing is known."""
    try:
        roll = recorded_roll(db, roll_id)
    except DamagedRowError:
        return Grade(0, None, None)
    recorded = db.execute("SELECT count(*) FROM defects WHERE roll_id = ?", (roll_id,)).fetchone()[0]
    if len(roll.defects) < recorded:
        lost = recorded - len(roll.defects)
        detail = f"{of_all(lost, recorded, 'defect')} without a place on the roll: not counted"
        insert_event(db, roll_id, RecordedEvent("defects damaged", detail))
    return grade_roll((row.defect for row in roll.defects), roll.inspected_m2, limits)


def count_defects(db: sqlite3.Connection, roll_id: str) -> int:
    """Count the defects that the record has of a roll."""
    count: int = db.execute("SELECT count(*) FROM defects WHERE roll_id = ?", (roll_id,)).fetchone()[0]
    return count


def new_roll(head: RollHead) -> OpenRoll:
    """Return a roll that is in no record yet; it has its id already."""
    return OpenRoll(new_id(), head.name or roll_name_of(utc_now()), True)


def insert_roll(db: sqlite3.Connection, roll: OpenRoll, head: RollHead) -> None:
    """Record that a roll has started."""
    db.execute(
        "INSERT INTO rolls (roll_id, name, article, status, started_utc, last_utc, camera, model_digest, "
        "loomsight, settings, cloth_width_mm) VALUES (?, ?, ?, 'running', ?, ?, ?, ?, ?, ?, ?)",
        (
            roll.roll_id,
            roll.name,
            head.article,
            roll.started_utc,
            roll.started_utc,
            head.camera,
            head.model_digest,
            __version__,
            json.dumps(head.settings),
            head.cloth_width_mm,
        ),
    )
    write_header(db, roll.roll_id, head.settings.get("roll_header"))


def _replace_gaps(
    db: sqlite3.Connection, roll: OpenRoll, from_line: int, gaps: Sequence[Gap], shift: int, m: float
) -> None:
    """Write the gaps that end at a line of the roll or behind it; one that only grew keeps its id."""
    mine = "roll_id = ? AND start_line >= ? AND start_line + lines >= ?"
    where = (roll.roll_id, roll.reached_line, from_line)
    old = {
        row["start_line"]: row
        for row in db.execute(f"SELECT event_id, start_line, utc FROM gaps WHERE {mine}", where)
    }
    db.execute(f"DELETE FROM gaps WHERE {mine}", where)
    for gap in gaps:
        start, end = gap.start + shift, gap.end + shift
        event_id, utc = (
            (old[start]["event_id"], old[start]["utc"]) if start in old else (new_id(), utc_now())
        )
        db.execute(
            "INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (event_id, roll.roll_id, start, end - start, start * m, end * m, gap.reason, utc),
        )


def _write_unplaced(db: sqlite3.Connection, roll: OpenRoll, coverage: Coverage) -> None:
    """Keep one gap without a place for images that could not be read, beside those of earlier runs."""
    lines = coverage.lines_unplaced
    if not lines:
        return
    db.execute(
        "INSERT INTO gaps VALUES (?, ?, NULL, ?, NULL, NULL, 'unreadable', ?) "
        "ON CONFLICT (event_id) DO UPDATE SET lines = excluded.lines",
        (roll.unplaced_id, roll.roll_id, lines, utc_now()),
    )

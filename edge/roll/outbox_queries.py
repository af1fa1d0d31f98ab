"""Spell the SQL of the outbox: the triggers that fill it, and what is read when a message's turn comes."""

from __future__ import annotations

from typing import Final, Literal, get_args

Origin = Literal["defect", "event", "roll", "gap", "verdict"]
ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)

_OF_ROLL = "r.roll_id, r.name AS roll, r.article"
_SPAN = "WHERE o.number > ?1 AND o.number <= ?2"

ROWS: Final[dict[Origin, str]] = {
    "defect": f"""
        SELECT o.number, d.event_id, d.class_name, d.score, d.start_m, d.end_m, d.left_mm, d.right_mm,
            d.points, d.utc, s.shape, k.kind, {_OF_ROLL}
        FROM outbox o JOIN defects d USING (event_id) JOIN rolls r USING (roll_id)
            LEFT JOIN shapes s USING (event_id) LEFT JOIN kinds k USING (event_id)
        {_SPAN}
    """,
    "event": f"""
        SELECT o.number, e.event_id, e.kind, e.detail, e.at_m, e.utc, x.data, {_OF_ROLL}
        FROM outbox o JOIN events e USING (event_id) LEFT JOIN event_data x USING (event_id)
            LEFT JOIN rolls r USING (roll_id)
        {_SPAN}
    """,
    "roll": f"""
        SELECT o.number, r.roll_id AS event_id, n.revision, r.last_utc AS utc, {_OF_ROLL}, r.status,
            r.started_utc, r.ended_utc, r.camera, r.model_digest, r.loomsight,
            r.reached_line * r.mm_per_line / 1000 AS length_m,
            r.passed_lines * r.mm_per_line / 1000 AS passed_m,
            r.inspected_lines * r.mm_per_line / 1000 AS inspected_m,
            r.cloth_width_mm, r.points, r.points_per_100_m2, r.grade,
            (SELECT count(*) FROM defects d WHERE d.roll_id = r.roll_id) AS defects,
            (SELECT json_group_object(h.name, h.text) FROM headers h WHERE h.roll_id = r.roll_id) AS header
        FROM outbox o JOIN rolls r ON r.roll_id = o.event_id JOIN roll_revisions n USING (roll_id)
        {_SPAN}
    """,
    "gap": f"""
        SELECT o.number, g.event_id, g.revision, g.utc, {_OF_ROLL}, g.lines, g.start_m, g.end_m, g.reason
        FROM outbox o JOIN gap_messages g USING (event_id) JOIN rolls r USING (roll_id)
        {_SPAN}
    """,
    "verdict": f"""
        SELECT o.number, v.review_id AS event_id, v.utc, {_OF_ROLL}, v.event_id AS defect_id,
            d.utc AS defect_utc, d.class_name AS detected_class_name, k.kind, v.verdict, n.class_name,
            (SELECT count(*) FROM reviews b WHERE b.event_id = v.event_id AND b.rowid <= v.rowid)
                AS revision
        FROM outbox o JOIN reviews v ON v.review_id = o.event_id JOIN defects d ON d.event_id = v.event_id
            JOIN rolls r ON r.roll_id = v.roll_id LEFT JOIN namings n USING (review_id)
            LEFT JOIN kinds k ON k.event_id = v.event_id
        {_SPAN}
    """,
}
"""What a message holds, as it is when it is sent; the outbox itself names only what is to be sent."""

JSON_COLUMNS: Final = ("data", "header")

# The first two queries take a step each. Only if old messages wait behind newer ones, or the outbox is
# full, are the rows counted.
HAS_ROOM: Final = (
    "(coalesce((SELECT max(number) FROM outbox) - (SELECT min(number) FROM outbox) + 1, 0) < {most} "
    "OR (SELECT count(*) FROM outbox) < {most})"
)

_ROLL_TOLD = """
    INSERT INTO roll_revisions VALUES (new.roll_id, 1)
        ON CONFLICT (roll_id) DO UPDATE SET revision = revision + 1;
    INSERT OR REPLACE INTO outbox (event_id, origin) SELECT new.roll_id, 'roll' WHERE {room};
"""

_CHANGED = """
    SELECT g.event_id, g.roll_id, 1, g.lines, g.start_m, g.end_m, g.reason, g.utc
    FROM open_gaps p JOIN gaps g USING (event_id) LEFT JOIN gap_messages m USING (event_id)
    WHERE p.roll_id = new.roll_id AND {closed}
        AND (m.event_id IS NULL OR m.lines IS NOT g.lines OR m.reason IS NOT g.reason)
"""
_UPSERT_GAP = """
    INSERT INTO gap_messages {changed}
        ON CONFLICT (event_id) DO UPDATE SET revision = revision + 1, lines = excluded.lines,
            start_m = excluded.start_m, end_m = excluded.end_m, reason = excluded.reason;
"""
# In an order in which each statement still sees what it needs: first the messages are queued, then they are
# written, then the gaps count as told.
_GAPS_TOLD = f"""
    INSERT OR REPLACE INTO outbox (event_id, origin)
        SELECT event_id, 'gap' FROM ({_CHANGED}) WHERE {{room}};
    {_UPSERT_GAP.format(changed=_CHANGED)}
    INSERT OR REPLACE INTO outbox (event_id, origin)
        SELECT p.event_id, 'gap' FROM open_gaps p JOIN gap_messages m USING (event_id)
        WHERE p.roll_id = new.roll_id AND m.lines <> 0 AND p.event_id NOT IN (SELECT event_id FROM gaps)
            AND {{room}};
    UPDATE gap_messages SET revision = revision + 1, lines = 0
        WHERE lines <> 0 AND event_id IN (SELECT event_id FROM open_gaps WHERE roll_id = new.roll_id)
            AND event_id NOT IN (SELECT event_id FROM gaps);
    DELETE FROM open_gaps WHERE roll_id = new.roll_id AND event_id NOT IN
        (SELECT event_id FROM gaps g WHERE g.roll_id = new.roll_id AND NOT ({{closed}}));
"""
_IS_BEHIND = "g.start_line + g.lines < new.reached_line"
_TOUCHED = "BEGIN INSERT OR IGNORE INTO open_gaps VALUES ({row}.event_id, {row}.roll_id); END"


def triggers(most_waiting: int) -> list[str]:
    """Return the statements that make a connection queue whatever it records from now on.

    A gap is told once the cloth has passed it, or its roll ends: until then it may grow each second. One
    that was told and is gone (its lines were inspected after all) is told again, with no lines.

    Args:
        most_waiting: with so many in the outbox, nothing further is queued.
    """
    room = HAS_ROOM.format(most=most_waiting)
    behind = _GAPS_TOLD.format(room=room, closed=_IS_BEHIND)
    all_of_roll = _GAPS_TOLD.format(room=room, closed="1")
    queued = {
        f"outbox_of_{origin}s": f"AFTER INSERT ON main.{origin}s WHEN {room} "
        f"BEGIN INSERT INTO outbox (event_id, origin) VALUES (new.event_id, '{origin}'); END"
        for origin in ("defect", "event")
    }
    queued |= {
        "outbox_of_rolls": f"AFTER INSERT ON main.rolls BEGIN {_ROLL_TOLD.format(room=room)} END",
        "outbox_of_states": "AFTER UPDATE OF status ON main.rolls BEGIN "
        f"{_ROLL_TOLD.format(room=room)} {all_of_roll} END",
        "outbox_of_gaps": f"AFTER UPDATE OF reached_line ON main.rolls BEGIN {behind} END",
        "gaps_made": f"AFTER INSERT ON main.gaps {_TOUCHED.format(row='new')}",
        "gaps_grown": f"AFTER UPDATE ON main.gaps {_TOUCHED.format(row='new')}",
        "gaps_gone": f"AFTER DELETE ON main.gaps {_TOUCHED.format(row='old')}",
    }
    return [f"CREATE TEMP TRIGGER {name} {what}" for name, what in queued.items()]

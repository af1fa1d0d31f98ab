"""Define the tables of a roll record, and their version."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x4C6F6F6D
"""Stands in the header of the file (`Loom`), so that no other program's database is taken for a record."""

SCHEMA_VERSION: Final = 1
"""Raised with every change that an older program must not write beside."""

TABLES: Final = (
    """
    CREATE TABLE rolls (
        roll_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        article TEXT,
        status TEXT NOT NULL CHECK (status IN ('running', 'finished', 'failed', 'interrupted')),
        started_utc TEXT NOT NULL,
        ended_utc TEXT,
        last_utc TEXT NOT NULL,
        camera TEXT NOT NULL,
        model_digest TEXT NOT NULL,
        loomsight TEXT NOT NULL,
        settings TEXT NOT NULL,
        mm_per_line REAL,
        cloth_width_mm REAL,
        reached_line INTEGER NOT NULL DEFAULT 0,
        passed_lines INTEGER NOT NULL DEFAULT 0,
        inspected_lines INTEGER NOT NULL DEFAULT 0,
        passed_frames INTEGER NOT NULL DEFAULT 0,
        inspected_frames INTEGER NOT NULL DEFAULT 0,
        points INTEGER,
        points_per_100_m2 REAL,
        grade TEXT
    )
    """,
    """
    CREATE TABLE defects (
        event_id TEXT PRIMARY KEY,
        roll_id TEXT NOT NULL REFERENCES rolls,
        class_name TEXT NOT NULL,
        score REAL NOT NULL,
        start_m REAL NOT NULL,
        end_m REAL NOT NULL,
        left_mm REAL NOT NULL,
        right_mm REAL NOT NULL,
        points INTEGER NOT NULL,
        picture TEXT,
        box_xyxy_px TEXT,
        utc TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE gaps (
        event_id TEXT PRIMARY KEY,
        roll_id TEXT NOT NULL REFERENCES rolls,
        start_line INTEGER,
        lines INTEGER NOT NULL,
        start_m REAL,
        end_m REAL,
        reason TEXT NOT NULL,
        utc TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE events (
        event_id TEXT PRIMARY KEY,
        roll_id TEXT REFERENCES rolls,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL,
        at_m REAL,
        utc TEXT NOT NULL
    )
    """,
    "CREATE INDEX rolls_by_name ON rolls (name)",
    "CREATE INDEX defects_of_roll ON defects (roll_id, start_m)",
    "CREATE INDEX gaps_of_roll ON gaps (roll_id, start_line)",
    "CREATE INDEX events_of_roll ON events (roll_id)",
)

HEADERS: Final = """
    CREATE TABLE IF NOT EXISTS headers (
        roll_id TEXT NOT NULL REFERENCES rolls,
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (roll_id, name)
    )
    """

REVIEWERS: Final = """
    CREATE TABLE IF NOT EXISTS reviewers (
        review_id TEXT PRIMARY KEY REFERENCES reviews,
        name TEXT NOT NULL
    )
    """

AUDIT_HEADS: Final = """
    CREATE TABLE IF NOT EXISTS audit_heads (
        log TEXT NOT NULL,
        number INTEGER NOT NULL,
        digest TEXT NOT NULL,
        utc TEXT NOT NULL
    )
    """

OUTBOX: Final = """
    CREATE TABLE IF NOT EXISTS outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        origin TEXT NOT NULL CHECK (origin IN ('defect', 'event', 'roll', 'gap', 'verdict'))
    )
    """

OUTBOX_OF_TODAY: Final = (
    "ALTER TABLE outbox RENAME TO outbox_before",
    OUTBOX,
    "INSERT INTO outbox SELECT * FROM outbox_before",
    "UPDATE sqlite_sequence SET seq = max(seq, "
    "(SELECT seq FROM sqlite_sequence WHERE name = 'outbox_before')) WHERE name = 'outbox'",
    "INSERT INTO sqlite_sequence SELECT 'outbox', seq FROM sqlite_sequence WHERE name = 'outbox_before' "
    "AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox')",
    "DROP TABLE outbox_before",
)
"""Give the outbox of an older program today's origins; what waits keeps its number, and numbers go on."""

LATER_TABLES: Final = (
    HEADERS,
    """
    CREATE TABLE IF NOT EXISTS reviews (
        review_id TEXT PRIMARY KEY,
        event_id TEXT NOT NULL REFERENCES defects,
        roll_id TEXT NOT NULL REFERENCES rolls,
        verdict TEXT NOT NULL CHECK (verdict IN ('confirmed', 'rejected', 'undone')),
        utc TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS reviews_of_defect ON reviews (event_id)",
    """
    CREATE TABLE IF NOT EXISTS namings (
        review_id TEXT PRIMARY KEY REFERENCES reviews,
        class_name TEXT NOT NULL
    )
    """,
    REVIEWERS,
    AUDIT_HEADS,
    """
    CREATE TABLE IF NOT EXISTS shapes (
        event_id TEXT PRIMARY KEY REFERENCES defects,
        shape TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS small_images (
        event_id TEXT PRIMARY KEY REFERENCES defects,
        jpeg BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS kinds (
        event_id TEXT PRIMARY KEY REFERENCES defects,
        kind TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS views (
        roll_id TEXT PRIMARY KEY REFERENCES rolls,
        left_mm REAL NOT NULL,
        right_mm REAL NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS event_data (
        event_id TEXT PRIMARY KEY REFERENCES events,
        data TEXT NOT NULL
    )
    """,
    OUTBOX,
    """
    CREATE TABLE IF NOT EXISTS outbox_set_aside (
        number INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL,
        origin TEXT NOT NULL,
        why TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS outbox_sent (
        event_id TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        origin TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS outbox_sent_in_order ON outbox_sent (number)",
    """
    CREATE TABLE IF NOT EXISTS outbox_open (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        most_waiting INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS roll_revisions (
        roll_id TEXT PRIMARY KEY REFERENCES rolls,
        revision INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS gap_messages (
        event_id TEXT PRIMARY KEY,
        roll_id TEXT NOT NULL REFERENCES rolls,
        revision INTEGER NOT NULL,
        lines INTEGER NOT NULL,
        start_m REAL,
        end_m REAL,
        reason TEXT NOT NULL,
        utc TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS open_gaps (
        event_id TEXT PRIMARY KEY,
        roll_id TEXT NOT NULL REFERENCES rolls
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS requests (
        request_id TEXT PRIMARY KEY,
        wish TEXT NOT NULL,
        utc TEXT NOT NULL,
        answer TEXT
    )
    """,
)
"""Tables that came later; an older program writes beside them unharmed. Made in every record that is opened
for writing."""

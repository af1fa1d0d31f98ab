"""Count by day of the plant as rows arrive, so that a year of all looms is answered at once."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CLOCKS = (
    """CREATE TABLE plant_clock (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), time_zone text NOT NULL)""",
    "INSERT INTO plant_clock (time_zone) VALUES ('UTC')",
    "CREATE TABLE shifts (name text PRIMARY KEY, starts time NOT NULL UNIQUE)",
    "INSERT INTO shifts VALUES ('early', '06:00'), ('late', '14:00'), ('night', '22:00')",
    """CREATE FUNCTION plant_time(at timestamptz) RETURNS timestamp LANGUAGE sql STABLE AS
        $$ SELECT at AT TIME ZONE (SELECT time_zone FROM plant_clock) $$""",
    # Before the first shift of a day it is still the last one of the day before.
    """CREATE FUNCTION shift_at(local timestamp) RETURNS text LANGUAGE sql STABLE AS $$
        SELECT name FROM shifts ORDER BY starts > local::time, starts DESC LIMIT 1 $$""",
)
COUNTS = (
    """CREATE TABLE daily_defects (
        day date NOT NULL, dimension text NOT NULL, name text NOT NULL, defects bigint NOT NULL,
        points bigint NOT NULL, PRIMARY KEY (dimension, day, name))""",
    """CREATE TABLE daily_gaps (
        day date NOT NULL, loom text NOT NULL, reason text NOT NULL, gaps bigint NOT NULL,
        lost_m double precision NOT NULL, PRIMARY KEY (day, loom, reason))""",
    """CREATE TABLE daily_events (
        day date NOT NULL, loom text NOT NULL, kind text NOT NULL, events bigint NOT NULL,
        PRIMARY KEY (day, loom, kind))""",
)
ADD_DEFECTS = """
    INSERT INTO daily_defects
    SELECT plant_time(utc)::date AS day, d.dimension, d.name, count(*), sum(points)
    FROM {rows} r, LATERAL (VALUES ('loom', loom), ('article', coalesce(article, '')),
        ('kind', class_name || CASE WHEN kind IS NULL THEN '' ELSE ': ' || kind END),
        ('shift', shift_at(plant_time(utc)))) d (dimension, name)
    GROUP BY 1, 2, 3 ORDER BY 2, 1, 3
    ON CONFLICT (dimension, day, name) DO UPDATE SET
        defects = daily_defects.defects + excluded.defects, points = daily_defects.points + excluded.points;
"""
ADD_GAPS = """
    INSERT INTO daily_gaps
    SELECT plant_time(utc)::date, loom, reason, sum({sign} CASE WHEN lines > 0 THEN 1 ELSE 0 END),
        sum({sign} CASE WHEN lines > 0 THEN coalesce(end_m - start_m, 0) ELSE 0 END)
    FROM {rows} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (day, loom, reason) DO UPDATE SET
        gaps = daily_gaps.gaps + excluded.gaps, lost_m = daily_gaps.lost_m + excluded.lost_m;
"""
ADD_EVENTS = """
    INSERT INTO daily_events
    SELECT plant_time(utc)::date, loom, kind, count(*) FROM {rows} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (day, loom, kind) DO UPDATE SET events = daily_events.events + excluded.events;
"""
FUNCTIONS = {
    "count_defects": ADD_DEFECTS.format(rows="new_rows"),
    "count_gaps": ADD_GAPS.format(rows="new_rows", sign="+"),
    "count_gaps_again": ADD_GAPS.format(rows="old_rows", sign="-")
    + ADD_GAPS.format(rows="new_rows", sign="+"),
    "count_events": ADD_EVENTS.format(rows="new_rows"),
}
NEW = "REFERENCING NEW TABLE AS new_rows"
TRIGGERS = {
    "count_defects": f"AFTER INSERT ON defects {NEW}",
    "count_gaps": f"AFTER INSERT ON gaps {NEW}",
    "count_gaps_again": "AFTER UPDATE ON gaps REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "count_events": f"AFTER INSERT ON events {NEW}",
}
BACKFILL = (
    ADD_DEFECTS.format(rows="defects"),
    ADD_GAPS.format(rows="gaps", sign="+"),
    ADD_EVENTS.format(rows="events"),
)  # fmt: skip


def upgrade() -> None:
    """Count what is there, and all that comes."""
    for statement in (*CLOCKS, *COUNTS, *BACKFILL):
        op.execute(statement)
    for name, body in FUNCTIONS.items():
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {body} RETURN NULL; END $$"
        )
        op.execute(f"CREATE TRIGGER {name} {TRIGGERS[name]} FOR EACH STATEMENT EXECUTE FUNCTION {name}()")


def downgrade() -> None:
    """Forget the counts; what they count stays."""
    for name, when in TRIGGERS.items():
        op.execute(f"DROP TRIGGER {name} ON {when.split(' ON ')[1].split()[0]}")
        op.execute(f"DROP FUNCTION {name}()")
    for name in ("daily_events", "daily_gaps", "daily_defects"):
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP FUNCTION shift_at(timestamp)")
    op.execute("DROP FUNCTION plant_time(timestamptz)")
    op.execute("DROP TABLE shifts")
    op.execute("DROP TABLE plant_clock")

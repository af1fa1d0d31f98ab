"""Store what devices record: defects, events and gaps by the day, rolls, verdicts, looms."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OF_ROLL = "loom text NOT NULL, roll_id text, roll text, article text"
RECEIVED = "received_utc timestamptz NOT NULL"
BY_DAY = "PRIMARY KEY (event_id, utc)) PARTITION BY RANGE (utc)"
VERDICT = f"""
    utc timestamptz NOT NULL, {OF_ROLL}, revision bigint NOT NULL, defect_utc timestamptz NOT NULL,
    verdict text NOT NULL, class_name text, detected_class_name text NOT NULL, kind text, {RECEIVED}
"""

STATEMENTS = (
    f"""CREATE TABLE defects (
        event_id text NOT NULL, utc timestamptz NOT NULL, {OF_ROLL}, class_name text NOT NULL, kind text,
        shape text, score real NOT NULL, start_m double precision NOT NULL, end_m double precision NOT NULL,
        left_mm double precision NOT NULL, right_mm double precision NOT NULL, points integer NOT NULL,
        {RECEIVED}, {BY_DAY}""",
    f"""CREATE TABLE events (
        event_id text NOT NULL, utc timestamptz NOT NULL, {OF_ROLL}, kind text NOT NULL,
        detail text NOT NULL, at_m double precision, data jsonb, {RECEIVED}, {BY_DAY}""",
    f"""CREATE TABLE gaps (
        event_id text NOT NULL, utc timestamptz NOT NULL, {OF_ROLL}, revision bigint NOT NULL,
        lines bigint NOT NULL, start_m double precision, end_m double precision, reason text NOT NULL,
        {RECEIVED}, {BY_DAY}""",
    *(
        f"CREATE TABLE {name}_elsewhen PARTITION OF {name} DEFAULT"
        for name in ("defects", "events", "gaps")
    ),
    *(f"CREATE INDEX {name}_of_roll ON {name} (roll_id)" for name in ("defects", "events", "gaps")),
    *(f"CREATE INDEX {name}_of_loom ON {name} (loom, utc)" for name in ("defects", "events", "gaps")),
    "CREATE INDEX defects_by_time ON defects (utc)",
    f"""CREATE TABLE rolls (
        {OF_ROLL}, utc timestamptz NOT NULL, revision bigint NOT NULL, status text NOT NULL,
        started_utc timestamptz NOT NULL, ended_utc timestamptz, camera text NOT NULL,
        model_digest text NOT NULL, loomsight text NOT NULL, length_m double precision,
        passed_m double precision, inspected_m double precision, cloth_width_mm double precision,
        defects bigint NOT NULL, points bigint, points_per_100_m2 double precision, grade text,
        header jsonb, {RECEIVED}, PRIMARY KEY (roll_id))""",
    "CREATE INDEX rolls_of_loom ON rolls (loom, started_utc DESC)",
    "CREATE INDEX rolls_by_time ON rolls (started_utc)",
    f"CREATE TABLE verdicts (review_id text PRIMARY KEY, defect_id text NOT NULL, {VERDICT})",
    "CREATE INDEX verdicts_of_roll ON verdicts (roll_id)",
    f"CREATE TABLE last_verdicts (defect_id text PRIMARY KEY, review_id text NOT NULL, {VERDICT})",
    "CREATE INDEX last_verdicts_by_time ON last_verdicts (defect_utc)",
    "CREATE INDEX last_verdicts_of_roll ON last_verdicts (roll_id)",
    f"""CREATE TABLE refused (
        digest text PRIMARY KEY, topic text NOT NULL, payload text NOT NULL, reason text NOT NULL,
        version bigint, {RECEIVED})""",
    """CREATE TABLE looms (
        loom text PRIMARY KEY, state text, state_utc timestamptz, loomsight text, camera text,
        installation text, first_received_utc timestamptz NOT NULL, last_received_utc timestamptz NOT NULL,
        last_lag_s double precision, name_conflict_utc timestamptz)""",
    """CREATE TABLE installations (
        loom text NOT NULL, installation text NOT NULL, first_utc timestamptz NOT NULL,
        last_utc timestamptz NOT NULL, PRIMARY KEY (loom, installation))""",
)
TABLES = (
    "installations", "looms", "refused", "last_verdicts", "verdicts", "rolls", "gaps", "events", "defects",
)  # fmt: skip


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Remove them, with all that is in them."""
    for name in TABLES:
        op.execute(f"DROP TABLE {name}")

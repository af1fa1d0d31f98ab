"""Find what a candidate bundle has inspected without reading all other events."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the events of candidates by their bundle; each day's partition gets its own index."""
    op.execute(
        "CREATE INDEX events_of_candidates ON events ((data ->> 'bundle')) "
        "WHERE kind = 'candidate inspected'"
    )


def downgrade() -> None:
    """Read all events again."""
    op.execute("DROP INDEX events_of_candidates")

"""Run the migrations on the connection that `edge.fleet.migrate` has opened."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True, version_table="schema_version")
with context.begin_transaction():
    context.run_migrations()

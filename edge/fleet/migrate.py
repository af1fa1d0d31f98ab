"""Bring the database to a version of the schema, and tell which one it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.pool import NullPool

from edge.core.errors import DatabaseError
from edge.fleet.database import Connection, connected, unreachable
from edge.fleet.settings import OfficeSettings

MIGRATIONS: Final = Path(__file__).parent / "migrations"
EMPTY: Final = "nothing"
LOCK: Final = 0x4C6F6F6D
"""Of `pg_advisory_lock`: one program at a time changes the schema."""


def migrate(settings: OfficeSettings, to: str = "head") -> tuple[str, str]:
    """Bring the schema up or down to a version, one transaction a step; `base` removes all.

    Returns:
        The version before, and after.
    Raises:
        DatabaseError: if the database cannot be used, or there is no such version.
    """
    with _engine(settings).connect() as connection:
        try:
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({LOCK})"))
            connection.commit()
            before = _version(connection)
            config = _config(connection)
            (command.downgrade if _is_down(config, before, to) else command.upgrade)(config, to)
            after = _version(connection)
            if after == head():
                _write_clock(connection, settings)
            connection.commit()
        except CommandError as error:
            raise DatabaseError(
                f"The schema cannot be brought to '{to}': {str(error).rstrip('.')}.",
                f"Versions are {', '.join(versions())}; update loomsight if the database is newer.",
            ) from error
        except sqlalchemy.exc.DBAPIError as error:
            raise unreachable(settings.database, error.orig or error) from error
    return before, after


def versions() -> list[str]:
    """Return the versions of the schema that this program knows, the oldest first."""
    scripts = ScriptDirectory.from_config(_config(None))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def head() -> str:
    """Return the version that this program works with."""
    return versions()[-1]


def check_version(connection: Connection) -> None:
    """See that the database has the schema of this program.

    Raises:
        DatabaseError: if it has another, or none.
    """
    exists = connection.execute("SELECT to_regclass('schema_version')").fetchone()
    row = None
    if exists and exists[0]:
        row = connection.execute("SELECT version_num FROM schema_version").fetchone()
    version = row[0] if row else EMPTY
    if version != head():
        raise DatabaseError(
            f"The database has the schema version {version}; this program works with {head()}.",
            "Run `loomsight office migrate`, or update loomsight if the database is newer.",
        )


def _engine(settings: OfficeSettings) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: _plain(settings), poolclass=NullPool
    )


def _plain(settings: OfficeSettings) -> Connection:
    """Return a connection as SQLAlchemy expects it: it commits by itself."""
    connection = connected(settings.database)
    connection.autocommit = False
    return connection


def _config(connection: sqlalchemy.Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _version(connection: sqlalchemy.Connection) -> str:
    context = MigrationContext.configure(connection, opts={"version_table": "schema_version"})
    version = context.get_current_revision()
    connection.commit()
    return version or EMPTY


def _is_down(config: Config, before: str, to: str) -> bool:
    known = versions()
    return (
        to == "base"
        or to.startswith("-")
        or (to in known and before in known and known.index(to) < known.index(before))
    )


def _write_clock(connection: sqlalchemy.Connection, settings: OfficeSettings) -> None:
    """Store where the plant's days and shifts begin; what is counted already stays as it was counted."""
    rows: list[dict[str, Any]] = [{"name": name, "starts": at} for name, at in settings.shifts.items()]
    zone = {"zone": settings.time_zone}
    connection.execute(sqlalchemy.text("UPDATE plant_clock SET time_zone = :zone"), zone)
    connection.execute(sqlalchemy.text("DELETE FROM shifts"))
    connection.execute(sqlalchemy.text("INSERT INTO shifts VALUES (:name, :starts)"), rows)

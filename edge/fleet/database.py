"""Connect to PostgreSQL, and name in plain words why that does not work."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from edge.core.errors import DatabaseError
from edge.fleet.settings import DatabaseSettings, database_password

Connection = psycopg.Connection[TupleRow]

CURE: Final = "Check database.url, database.password_file, and that PostgreSQL runs."


def connected(settings: DatabaseSettings) -> Connection:
    """Open a connection in UTC, outside of a transaction.

    Raises:
        ConfigError: if the password's file cannot be used.
        DatabaseError: if the server cannot be reached, or refuses.
    """
    password = database_password(settings)
    named = {"password": password} if password is not None else {}
    try:
        conninfo = make_conninfo(
            settings.url,
            connect_timeout=settings.timeout_s,
            application_name="loomsight office",
            options="-c timezone=UTC",
            keepalives_idle=30,
            **named,
        )
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.Error as error:
        raise unreachable(settings, error) from error


def unreachable(settings: DatabaseSettings, error: Exception) -> DatabaseError:
    """Say in one line why the database cannot be used."""
    return DatabaseError(f"The database {shown_url(settings)} cannot be used: {why(error)}.", CURE)


def why(error: Exception) -> str:
    """Return what PostgreSQL or libpq says, in one line, without a full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(" Is the server running")[0][:300].rstrip(".")


def shown_url(settings: DatabaseSettings) -> str:
    """Return host and database, without user and options."""
    parts = urlsplit(settings.url)
    return f"{parts.hostname or 'on this machine'}{f':{parts.port}' if parts.port else ''}{parts.path}"

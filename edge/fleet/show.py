"""Print the answers of the dashboards as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg

from edge.core.errors import ConfigError
from edge.fleet.database import connected, unreachable
from edge.fleet.migrate import check_version
from edge.fleet.queries import answer, queries
from edge.fleet.settings import OfficeSettings
from edge.process.terminal import as_cell, echo
from edge.process.whole_table import WholeTable, wide_console


def show(settings: OfficeSettings, names: Sequence[str], days: float, *, as_json: bool = False) -> None:
    """Print answers, each under its title.

    Args:
        settings: with the database.
        names: of the questions; `all` for all.
        days: up to now, that are asked about.
        as_json: in place of tables.
    Raises:
        ConfigError: if there is no such question.
        DatabaseError: if the database cannot be used, or has another schema.
    """
    known = queries()
    wanted = list(known) if "all" in names else list(names)
    for name in wanted:
        if name not in known:
            raise ConfigError(f"There is no question '{name}'.", f"Ask {', '.join(known)}, or all.")
    now = datetime.now(timezone.utc)
    found: dict[str, Any] = {}
    with connected(settings.database) as connection:
        check_version(connection)
        try:
            for name in wanted:
                found[name] = answer(connection, known[name], now - timedelta(days=days), now)
        except psycopg.Error as error:
            raise unreachable(settings.database, error) from error
    if as_json:
        objects = {
            name: [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
            for name, (columns, rows) in found.items()
        }
        echo(json.dumps(objects, indent=1))
        return
    for name, (columns, rows) in found.items():
        echo(f"{known[name].title}: {known[name].answers}")
        _print(columns, rows)


def _print(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = WholeTable(*(column.replace("_", " ") for column in columns))
    for row in rows:
        table.add_row(*(as_cell(_shown(value)) for value in row))
    wide_console().print(table)


def _shown(value: object) -> str:
    if value is None or value == "":
        return "—"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value

"""Keep with a roll what stands at the head of its paper."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.config.roll_header import RollHeader
from edge.roll.database import described
from edge.roll.reviews import has_table, opened_for_writing
from edge.roll.schema import HEADERS


def write_header(db: sqlite3.Connection, roll_id: str, header: Mapping[str, Any] | None) -> None:
    """Write what is given of a head; what is not given stays as it is.

    Args:
        db: in a transaction.
        roll_id: of the roll.
        header: key to text; None and texts that are None say nothing.
    """
    for key, text in (header or {}).items():
        if isinstance(text, str):
            db.execute("INSERT OR REPLACE INTO headers VALUES (?, ?, ?)", (roll_id, key, text))


def keep_header(path: Path, roll_id: str, header: Mapping[str, str]) -> None:
    """Write what is given of a head beside the run that may be writing the record.

    Raises:
        RecordError: if the record is in use by another program for long.
        OutputError: if it cannot be written.
    """
    try:
        with closing(opened_for_writing(path)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(HEADERS)
            write_header(db, roll_id, header)
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise described(path, error) from error


def header_of_roll(db: sqlite3.Connection, roll_id: str) -> tuple[dict[str, str], int]:
    """Return the head of a roll, and how many rows of it are damaged; older records have none."""
    if not has_table(db, "headers"):
        return {}, 0
    header: dict[str, str] = {}
    damaged = 0
    for key, text in db.execute(
        "SELECT name, text FROM headers WHERE roll_id = ? ORDER BY rowid", (roll_id,)
    ):
        try:
            header |= RollHeader.model_validate({key: text}, strict=True).given()
        except (ValidationError, TypeError):
            damaged += 1
    return header, damaged

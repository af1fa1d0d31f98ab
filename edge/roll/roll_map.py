"""Read the document of a roll from a file, of this program or of another maker's."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from edge.core.errors import RecordError
from edge.core.outside_documents import parsed_json
from edge.core.outside_files import read_bytes
from edge.core.settings import LONGEST_VALUE, shown
from edge.roll.document import SCHEMA_ID, RollDocument

MOST_BYTES: Final = 256 * 2**20
"""A roll of a hundred thousand defects has some 80 MB."""

SCHEMA: Final = re.compile(r"urn:loomsight:roll-report:(\d+)\.(\d+)")
OLDEST_MINOR: Final = 1

CURE: Final = "See docs/roll-report.schema.json."


class RollMap(NamedTuple):
    """Hold a document, and what tells its file from any other.

    Attributes:
        digest: sha256 of the file.
    """

    document: RollDocument
    digest: str


def read_map(file: Path) -> RollMap:
    """Read the document of a roll.

    Raises:
        RecordError: if the file cannot be read, is no such document, or one of several cameras.
    """
    data = read_bytes(file, MOST_BYTES, RecordError)
    values = parsed_json(data, str(file), RecordError)
    if not isinstance(values, dict) or not isinstance(values.get("schema_id"), str):
        raise RecordError(f"{file} is no document of a roll: it has no schema_id.", CURE)
    _check_version(file, values["schema_id"])
    try:
        document = RollDocument.model_validate({**values, "schema_id": SCHEMA_ID})
    except ValidationError as error:
        raise RecordError(f"{file} is no document of a roll: {_first(error)}.", CURE) from error
    except RecursionError as error:
        raise RecordError(f"{file} is nested too deeply.", CURE) from error
    _check_one_camera(file, document)
    return RollMap(document, hashlib.sha256(data).hexdigest())


def _check_version(file: Path, schema_id: str) -> None:
    match = SCHEMA.fullmatch(schema_id)
    own = SCHEMA.fullmatch(SCHEMA_ID)
    if match is None or own is None or match[1] != own[1] or int(match[2]) < OLDEST_MINOR:
        raise RecordError(
            f"{file} follows the schema {shown(schema_id)}, which is not known.",
            f"Export it with {SCHEMA_ID}.",
        )
    if int(match[2]) > int(own[2]):
        raise RecordError(
            f"{file} follows a newer schema, {schema_id}; this loomsight knows {SCHEMA_ID}.",
            "Update loomsight here.",
        )


def _check_one_camera(file: Path, document: RollDocument) -> None:
    if "+" in document.technical.roll_id:
        raise RecordError(
            f"{file} is about several cameras beside each other.", "Export the record of each by itself."
        )
    if len(document.defects) != len(document.technical.defects):
        raise RecordError(
            f"{file} has {len(document.defects)} defects, and ids of {len(document.technical.defects)}.",
            CURE,
        )


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong, in short."""
    first: Any = error.errors()[0]
    key = ".".join(str(part)[:LONGEST_VALUE] for part in first["loc"])
    return f"{key}: {str(first['msg']).rstrip('.')}" if key else str(first["msg"]).rstrip(".")

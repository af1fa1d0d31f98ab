"""Keep the places of a contact sheet that a person marked as defects, in a file beside the article file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.config.alarm_budget import Unit
from edge.core.errors import RecordError
from edge.core.files import write_whole
from edge.core.outside_files import read_text
from edge.teach.article_file import SHEET_NAME, ArticleFile

BUDGET_FLAGS: Final[dict[Unit, str]] = {
    "100 m": "--false-alarms-per-100m",
    "m2": "--false-alarms-per-m2",
    "image": "--false-alarms-per-image",
}


class MarksFile(BaseModel):
    """Name the places that are to be left out when the article is taught again.

    Attributes:
        sheet: sha256 of the contact sheet that shows them: those of another one say nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    article: str
    sheet: str
    leave_out: tuple[Annotated[int, Field(ge=1, le=999)], ...] = ()


def marks_path(article: ArticleFile) -> Path:
    """Return where the marks stand: beside the article file, as that is published whole."""
    folder = article.path.absolute()
    return folder.with_name(f"{folder.name}.leave-out.json")


def marked_places(article: ArticleFile) -> tuple[int, ...]:
    """Return the numbers that are marked on the contact sheet of an article file, in order.

    Raises:
        RecordError: if the file cannot be read, or is no such file.
    """
    path = marks_path(article)
    if not path.exists():
        return ()
    cure = "Delete it and mark the places again."
    try:
        marks = MarksFile.model_validate_json(read_text(path, error=RecordError, cure=cure))
    except ValidationError as error:
        raise RecordError(f"{path} is not valid: {error.errors()[0]['msg']}.", cure) from error
    if marks.sheet != article.manifest.files[SHEET_NAME]:
        return ()
    known = {place.number for place in article.manifest.places}
    return tuple(sorted(known & set(marks.leave_out)))


def mark_place(article: ArticleFile, number: int, *, is_defect: bool) -> tuple[int, ...]:
    """Mark a place of a contact sheet, or take its mark back; it is on the disk when this returns.

    Args:
        number: of the place on the sheet.
    Returns:
        The numbers that are marked then.
    Raises:
        ValueError: if the sheet has no such place.
        RecordError: if the marks of before cannot be read.
        OutputError: if they cannot be written; those of before stay.
    """
    manifest = article.manifest
    if number not in {place.number for place in manifest.places}:
        raise ValueError(f"the contact sheet has no place {number}")
    before = marked_places(article)
    after = tuple(sorted({*before, number} if is_defect else {*before} - {number}))
    if after != before:
        marks = MarksFile(article=manifest.article, sheet=manifest.files[SHEET_NAME], leave_out=after)
        write_whole(marks_path(article), f"{marks.model_dump_json(indent=1)}\n".encode())
    return after


def teach_again_command(article: ArticleFile, numbers: tuple[int, ...]) -> str:
    """Return the command that teaches an article again without some places; SAME is the cloth of before."""
    manifest = article.manifest
    promise = manifest.promise
    parts = [
        "loomsight", "teach", "--article", manifest.article, "--camera", "SAME",
        BUDGET_FLAGS[promise.per], f"{promise.false_alarms:g}", "--out", str(article.path),
    ]  # fmt: skip
    struck = ["--leave-out", *map(str, numbers)] if numbers else []
    return shlex.join([*parts, *struck])

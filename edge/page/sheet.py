"""Serve the contact sheet of the article on the loom, and record which places a person marks as defects."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from edge.core.errors import RecordError
from edge.core.outside_files import read_bytes
from edge.page.live import LivePage
from edge.teach.arrays import ARRAYS_BYTES
from edge.teach.article_file import SHEET_NAME, ArticleFile, SheetPlace
from edge.teach.contact_sheet import CELL_PX, COLUMNS, TEXT_PX
from edge.teach.marks import mark_place, marked_places, teach_again_command
from edge.web.body import asked_for
from edge.web.permitted import person_of
from edge.web.responses import JsonAnswer, RefusedError

Result = TypeVar("Result")


class Beside(Protocol):
    """Do some work in a thread, after what others asked for."""

    def __call__(self, work: Callable[[], Result]) -> Awaitable[Result]:
        """Return what came of it."""


class AskedMark(BaseModel):
    """Ask for a place to be marked as a defect, or for its mark to be taken back.

    Attributes:
        sheet: digest of the contact sheet that the person saw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sheet: str = Field(pattern=r"^[0-9a-f]{64}$")
    number: int = Field(ge=1, le=999)
    is_defect: bool


class SheetPages:
    """Answer what concerns the contact sheet.

    Args:
        live: knows the article on the loom.
        beside: does the work.
    """

    def __init__(self, live: LivePage, beside: Beside) -> None:
        self._live = live
        self._beside = beside

    async def places(self, request: Request) -> Response:
        """Give the places with their marks, and the command that teaches without those."""
        article = self._article()
        marked = await self._beside(lambda: marked_places(article))
        return JsonAnswer(sheet_json(article, marked))

    async def image(self, request: Request) -> Response:
        """Give the contact sheet, as it was when the run opened the article file."""
        article = self._article()
        return Response(await self._beside(lambda: sheet_of(article)), media_type="image/png")

    async def mark(self, request: Request) -> Response:
        """Mark a place; it is on the disk before this answers."""
        asked = await asked_for(request, AskedMark, "That is no mark on a contact sheet.")
        article = self._article()
        if asked.sheet != article.manifest.files[SHEET_NAME]:
            raise RefusedError(409, "That is another contact sheet than the one in use. Open it again.")
        if asked.number not in {place.number for place in article.manifest.places}:
            raise RefusedError(404, f"The contact sheet has no place {asked.number}.")
        marked = await self._beside(lambda: mark_place(article, asked.number, is_defect=asked.is_defect))
        if self._live.audit is not None:
            who, name = person_of(request).name, article.manifest.article
            self._live.audit.mark(who, name, asked.number, is_defect=asked.is_defect)
        return JsonAnswer(marks_json(article, marked))

    def _article(self) -> ArticleFile:
        article = self._live.taught()
        if article is None:
            raise RefusedError(404, "The article on the loom was not taught: it has no contact sheet.")
        return article


def sheet_of(article: ArticleFile) -> bytes:
    """Return the contact sheet of an article in use.

    Raises:
        RecordError: if it cannot be read, or another one has taken its place.
    """
    again = "The next roll, or a start of the device, uses what stands there now."
    data = read_bytes(article.path / SHEET_NAME, ARRAYS_BYTES, RecordError, again)
    if hashlib.sha256(data).hexdigest() != article.manifest.files[SHEET_NAME]:
        raise RecordError(f"The article file {article.path} was taught again meanwhile.", again)
    return data


def sheet_json(article: ArticleFile, marked: tuple[int, ...]) -> dict[str, Any]:
    """Return a contact sheet for the page: where its cells lie on the image, and what stands in them."""
    manifest = article.manifest
    return {
        "article": manifest.article,
        "promise": manifest.promise.text(),
        "sheet": manifest.files[SHEET_NAME],
        "columns": COLUMNS,
        "cell_px": CELL_PX,
        "text_px": TEXT_PX,
        "places": [_place_json(article, place) for place in manifest.places],
        **marks_json(article, marked),
    }


def marks_json(article: ArticleFile, marked: tuple[int, ...]) -> dict[str, Any]:
    """Return what is marked, and the command that teaches without it; None if nothing is."""
    return {"marked": marked, "command": teach_again_command(article, marked) if marked else None}


def _place_json(article: ArticleFile, place: SheetPlace) -> dict[str, Any]:
    per = article.manifest.promise.per
    return {
        "number": place.number,
        "alarm_at": f"{float(f'{place.rate:.3g}'):g} per {'m²' if per == 'm2' else per}",
    }

"""Answer the programs of a plant: rolls, their defects and grades, articles. See docs/rest.md."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from edge.audit.who import user_named
from edge.core.errors import ConfigError
from edge.core.events import new_id
from edge.page.api_values import (
    MOST_ON_A_PAGE,
    ON_A_PAGE,
    ArticleAnswer,
    ArticleList,
    DefectList,
    GradedDefect,
    KnownArticle,
    RollGrading,
    RollList,
    RollSummary,
    WantedArticle,
)
from edge.page.live import LivePage
from edge.page.openapi import OPERATIONS, openapi
from edge.page.rolls import EVENT_ID, saved_image
from edge.pipeline.changes import RollRequest
from edge.roll.compose import document_of
from edge.roll.contents import Roll
from edge.roll.document import RollDocument
from edge.roll.local_time import local_from_utc
from edge.roll.reading import look_into, recorded_roll
from edge.roll.rows import DamagedRowError, RollCells, cells_of
from edge.web.body import asked_for
from edge.web.door import Addresses
from edge.web.permitted import person_of
from edge.web.responses import JsonAnswer, RefusedError

Result = TypeVar("Result")

CURRENT: Final = "current"
"""In the place of an id: the roll on the loom."""

NOT_OF_THE_STATE: Final = ("made",)
"""Fields that change with each answer, though the roll has not."""


class Beside(Protocol):
    """Do some work in a thread, after what others asked for."""

    def __call__(self, work: Callable[[], Result]) -> Awaitable[Result]: ...


class PlantApi:
    """Answer about the rolls of one camera.

    Args:
        live: what inspection tells.
        beside: does work in a thread.
    """

    def __init__(self, live: LivePage, beside: Beside) -> None:
        self._live = live
        self._beside = beside

    def addresses(self) -> Addresses:
        """Return what answers who reads; the OpenAPI document describes the same addresses."""
        reading = {address: answer for address, answer in self._all().items() if address.startswith("GET ")}
        return {**reading, "GET /api/v1/openapi.json": self.describe}

    def changes(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Return what answers requests that change something."""
        return {
            address: answer for address, answer in self._all().items() if not address.startswith("GET ")
        }

    def _all(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        return {
            f"{operation.method} {operation.path}": getattr(self, operation.name)
            for operation in OPERATIONS
        }

    async def describe(self, request: Request) -> Response:
        """Give the OpenAPI document, for the address that it was asked for at."""
        prefix = request.url.path.removesuffix("/api/v1/openapi.json")
        return JsonAnswer(openapi(prefix, self._live.device.version))

    async def rolls(self, request: Request) -> Response:
        """List the rolls of the record, the last one first."""
        offset, limit, path = *_part(request), self._path()
        return _answer(request, await self._beside(lambda: _rolls(path, offset, limit)))

    async def roll(self, request: Request) -> Response:
        """Give the report of a roll."""
        return _answer(request, await self._beside(self._document(request)))

    async def defects(self, request: Request) -> Response:
        """List the defects of a roll."""
        offset, limit = _part(request)
        document = await self._beside(self._document(request))
        return _answer(request, _defects(document, offset, limit))

    async def frame_image(self, request: Request) -> Response:
        """Give the file of the image that shows a defect."""
        path, event_id = self._path(), request.path_params["event_id"]
        data = await self._beside(lambda: saved_image(path, event_id))
        if data is None:
            raise RefusedError(404, "There is no such image: none was saved, or it made room for others.")
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(data, media_type="image/png", headers={"ETag": tag})

    async def grade(self, request: Request) -> Response:
        """Give the grade of a roll."""
        document = await self._beside(self._document(request))
        graded = RollGrading(
            roll_id=document.technical.roll_id,
            roll=document.header.roll,
            article=document.header.article,
            status=document.status,
            grading=document.grading,
            review=document.review,
            inspection=document.inspection,
        )
        return _answer(request, graded)

    async def articles(self, request: Request) -> Response:
        """List the articles that settings or record know."""
        live, recorder = self._live, self._live.recorder
        counts: Counter[str] = Counter()
        if recorder is not None and recorder.path.exists():
            counts = await self._beside(lambda: look_into(recorder.path, _articles))
        known = live.device.articles
        listed = tuple(
            KnownArticle(name=name, has_settings=name in known, rolls=counts[name])
            for name in sorted({*known, *counts})
        )
        return _answer(request, ArticleList(article=live.snapshot.run.terms.article, articles=listed))

    async def want_article(self, request: Request) -> Response:
        """Begin a roll of an article, unless it is on the loom."""
        wanted = await asked_for(request, WantedArticle, "That names no article; see openapi.json.")
        changes = self._live.changes
        if changes is None or self._live.snapshot.phase == "ended":
            raise RefusedError(409, "Inspection is not running.")
        if wanted.roll is None and wanted.article == self._live.snapshot.run.terms.article:
            return _answered(wanted, is_changing=False, repeated=False)
        who = user_named(person_of(request).name)
        roll_request = RollRequest("rest", wanted.roll, wanted.article, wanted.id or new_id(), who=who)
        try:
            is_new = await self._beside(lambda: changes.ask(roll_request))
        except ConfigError as error:
            raise RefusedError(409, str(error)) from error
        return _answered(wanted, is_changing=is_new, repeated=not is_new)

    def _path(self) -> Path:
        recorder = self._live.recorder
        if recorder is None:
            raise RefusedError(409, "There is no roll record: start edge-run with --roll-record.")
        return recorder.path

    def _document(self, request: Request) -> Callable[[], RollDocument]:
        """Return what reads the report of the roll that a request names."""
        path, asked = self._path(), request.path_params["roll_id"]
        roll_id = self._live.roll_id if asked == CURRENT else asked
        if roll_id is None or not EVENT_ID.fullmatch(roll_id):
            raise RefusedError(404, "There is no such roll.")

        def read() -> RollDocument:
            return document_of(look_into(path, lambda db: _found(db, roll_id)))

        return read


def _found(db: sqlite3.Connection, roll_id: str) -> Roll:
    """Read a roll.

    Raises:
        RefusedError: if there is none of that id, or it is damaged.
    """
    if db.execute("SELECT 1 FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone() is None:
        raise RefusedError(404, "There is no such roll.")
    try:
        return recorded_roll(db, roll_id)
    except DamagedRowError as error:
        raise RefusedError(409, f"The roll is damaged in the record: {error}.") from error


def _rolls(path: Path, offset: int, limit: int) -> RollList:
    def read(db: sqlite3.Connection) -> tuple[int, list[sqlite3.Row]]:
        count = "(SELECT count(*) FROM defects WHERE defects.roll_id = rolls.roll_id) AS defects"
        rows = db.execute(
            f"SELECT *, {count} FROM rolls ORDER BY rowid DESC LIMIT ? OFFSET ?", (limit, offset)
        ).fetchall()
        return db.execute("SELECT count(*) FROM rolls").fetchone()[0], rows

    total, rows = look_into(path, read)
    listed = tuple(one for row in rows if (one := _summary(row)) is not None)
    return RollList(total=total, offset=offset, following=_following(total, offset, limit), rolls=listed)


def _summary(row: sqlite3.Row) -> RollSummary | None:
    """Return a row of the record as a value; None if it is damaged."""
    try:
        cells, _ = cells_of(RollCells, row)
        return RollSummary(
            roll_id=cells.roll_id,
            roll=cells.name,
            article=cells.article,
            status=cells.status,
            started=local_from_utc(cells.started_utc, None),
            ended=local_from_utc(cells.ended_utc, None),
            length_m=round(cells.length_m, 4) if cells.mm_per_line else None,
            defects=row["defects"],
            grade=row["grade"],
            points=row["points"],
            points_per_100_m2=row["points_per_100_m2"],
        )
    except ValueError:
        return None


def _defects(document: RollDocument, offset: int, limit: int) -> DefectList:
    every, records = document.defects, document.technical.defects
    part = slice(offset, offset + limit)
    listed = tuple(
        GradedDefect(**dict(defect), event_id=record.event_id)
        for defect, record in zip(every[part], records[part], strict=True)
    )
    return DefectList(
        total=len(every),
        offset=offset,
        following=_following(len(every), offset, limit),
        roll_id=document.technical.roll_id,
        defects=listed,
    )


def _articles(db: sqlite3.Connection) -> Counter[str]:
    rows = db.execute("SELECT article, count(*) FROM rolls WHERE article IS NOT NULL GROUP BY article")
    return Counter({str(article): count for article, count in rows})


def _following(total: int, offset: int, limit: int) -> int | None:
    return offset + limit if offset + limit < total else None


def _part(request: Request) -> tuple[int, int]:
    """Return which part of a list is asked for.

    Raises:
        RefusedError: if that is no such thing.
    """
    asked = request.query_params
    unknown = set(asked) - {"offset", "limit"}
    if unknown:
        raise RefusedError(422, f"There is no parameter '{min(unknown)}': offset and limit are permitted.")
    offset, limit = _count(asked.get("offset", "0")), _count(asked.get("limit", str(ON_A_PAGE)))
    if not 1 <= limit <= MOST_ON_A_PAGE:
        raise RefusedError(422, f"limit is 1 to {MOST_ON_A_PAGE}.")
    return offset, limit


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RefusedError(422, "offset and limit are numbers.")
    return int(text)


def _answer(request: Request, value: BaseModel) -> Response:
    """Return a value with its ETag, or 304 where the client has it already."""
    plain: dict[str, Any] = value.model_dump(mode="json")
    state = {name: one for name, one in plain.items() if name not in NOT_OF_THE_STATE}
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:32]
    tag = f'"{digest}"'
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers={"ETag": tag})
    return JsonAnswer(plain, headers={"ETag": tag})


def _answered(wanted: WantedArticle, *, is_changing: bool, repeated: bool) -> Response:
    answer = ArticleAnswer(article=wanted.article, is_changing=is_changing, repeated=repeated)
    return JsonAnswer(answer.model_dump(mode="json"), 202 if is_changing or repeated else 200)

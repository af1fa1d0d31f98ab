"""Answer the addresses of a camera's page. Slow work is done one piece at a time, beside the event loop."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from edge.audit.who import user_named
from edge.config.edge import RollName
from edge.core.detections import UNCLASSIFIED
from edge.core.errors import ConfigError, LoomsightError, OutputError, RecordError
from edge.page.api import PlantApi
from edge.page.cloth import ClothImage
from edge.page.frames import STILL_RUNS
from edge.page.live import LivePage
from edge.page.roll_grade import RollGrade
from edge.page.rolls import EVENT_ID, Known, changes, recorded_image
from edge.page.sheet import SheetPages
from edge.page.state import StateText
from edge.pipeline.changes import RollRequest
from edge.process.supervised import Telling
from edge.roll.reviews import Review, Verdict, record_review
from edge.teach.values import TeachingRequest
from edge.web.body import asked_for
from edge.web.door import Addresses
from edge.web.permitted import permitted, person_of
from edge.web.responses import EventStream, JsonAnswer, RefusedError, Viewers, shipped_file

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SHIPPED: Final = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/device.js": ("device.js", "text/javascript"),
    "/defects.js": ("defects.js", "text/javascript"),
    "/map.js": ("map.js", "text/javascript"),
    "/next.js": ("next.js", "text/javascript"),
    "/image.js": ("image.js", "text/javascript"),
    "/frames.js": ("frames.js", "text/javascript"),
    "/missed.js": ("missed.js", "text/javascript"),
    "/numbers.js": ("numbers.js", "text/javascript"),
    "/teaching.js": ("teaching.js", "text/javascript"),
    "/sheet": ("sheet.html", "text/html"),
    "/sheet.js": ("sheet.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The empty page: it holds nothing about a mill, so it is served without a token."""

FINISHED: Final = "Inspection is finished."

MOST_VIEWERS: Final = 16
STATE_S: Final = 0.5
"""How often a viewer is told how the run stands."""


class AskedReview(BaseModel):
    """Ask for a verdict to be recorded, and with a confirmation the class that a person gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=EVENT_ID.pattern, min_length=32, max_length=32)
    verdict: Verdict
    class_name: str | None = Field(None, min_length=1, max_length=200)


class NextRoll(BaseModel):
    """Ask for the next roll; the same id twice is one request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=EVENT_ID.pattern, min_length=32, max_length=32)
    name: RollName | None = None
    article: RollName | None = None


class AskedTeaching(BaseModel):
    """Ask for the article on the loom to be learnt, or for that to be cancelled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: TeachingRequest


class CameraPage:
    """Answer requests about one run.

    Args:
        live: what inspection tells.
        one: shared by all pages of a device: the network needs the processor more than two of them at once.
    Attributes:
        closing: whether streams end.
        live, one: as given.
        viewers: who looks now.
    """

    def __init__(self, live: LivePage, one: CapacityLimiter) -> None:
        self.closing = False
        self.live = live
        self._state = StateText(live)
        self._cloth = ClothImage()
        self.viewers = Viewers(MOST_VIEWERS)
        self._telling = Telling()
        self.one = one
        self._sheet = SheetPages(live, self._beside)
        self._grade = RollGrade(live)
        self._api = PlantApi(live, self._beside)

    def addresses(self) -> Addresses:
        """Return what answers each address of the page; see `behind_door`."""
        return {
            **{f"GET {path}": shipped_file("edge.page", *file) for path, file in SHIPPED.items()},
            "GET /state": self.state,
            "GET /events": self.events,
            "GET /cloth.jpg": self.cloth,
            "GET /roll": self.roll,
            "GET /images/{event_id}": self.image,
            "GET /frames": self.frames,
            "GET /frames/{number}": self.frame,
            "GET /sheet.json": self._sheet.places,
            "GET /sheet.png": self._sheet.image,
            **self._api.addresses(),
            **{address: permitted(address, change) for address, change in self._changes().items()},
        }

    def _changes(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Return what answers requests that change something; who may make them: `edge.accounts`."""
        return {
            "POST /reviews": self.review,
            "POST /rolls": self.next_roll,
            "POST /teaching": self.teach,
            "POST /marks": self._sheet.mark,
            **self._api.changes(),
        }

    def close(self) -> None:
        """Let streams end; called from outside."""
        self.closing = True

    async def state(self, request: Request) -> Response:
        """Say once how the run stands."""
        return Response(self._state.now(), media_type="application/json")

    async def events(self, request: Request) -> Response:
        """Say how the run stands, again and again (server-sent events)."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return EventStream(self._told(), self.viewers)

    async def _told(self) -> AsyncIterator[str]:
        while not self.closing:
            yield f"data: {self._state.now()}\n\n"
            await asyncio.sleep(STATE_S)
        yield f"data: {self._state.now()}\n\n"

    async def cloth(self, request: Request) -> Response:
        """Give the cloth that was inspected last, with boxes."""
        live = self.live
        jpeg = await self._beside(lambda: self._cloth.jpeg(live.blocks))
        if jpeg is None:
            return Response(status_code=204)
        return Response(jpeg.data, media_type="image/jpeg", headers={"X-Number": str(jpeg.number)})

    async def roll(self, request: Request) -> Response:
        """Give what the page does not know of the roll yet."""
        asked = request.query_params
        known = Known(
            asked.get("roll", ""),
            _number(asked.get("defect", "0")),
            _number(asked.get("review", "0")),
            asked.get("gaps", ""),
            _number(asked.get("record", "0")),
        )

        def read() -> dict[str, Any]:
            new = changes(self.live, known)
            return new | {"grade": self._grade.look().as_json()}

        return JsonAnswer(await self._beside(read))

    async def look_at_grade(self) -> None:
        """Read how the roll is graded now, for a page that does not ask for the roll."""
        await self._beside(self._grade.look)

    async def frames(self, request: Request) -> Response:
        """Say which frames of a finished run can be looked through."""
        if self.live.snapshot.phase != "ended":
            raise RefusedError(409, STILL_RUNS)
        return JsonAnswer(self.live.frames.as_json())

    async def frame(self, request: Request) -> Response:
        """Give a frame of a finished run, read again, with its boxes."""
        if self.live.snapshot.phase != "ended":
            raise RefusedError(409, STILL_RUNS)
        number = _number(request.path_params["number"])
        try:
            jpeg = await self._beside(lambda: self.live.frames.jpeg(number))
        except LoomsightError as error:
            raise RefusedError(404, str(error)) from error
        headers = {"X-Name": quote(jpeg.name)}
        return Response(jpeg.data, media_type="image/jpeg", headers=headers)

    async def image(self, request: Request) -> Response:
        """Give the image of a recorded defect, by the id of the defect."""
        recorder, event_id = self.live.recorder, request.path_params["event_id"]
        if recorder is None:
            raise RefusedError(404, "There is no roll record.")

        data = await self._beside(lambda: recorded_image(recorder.path, event_id))
        if data is None:
            raise RefusedError(404, "There is no such image.")
        return Response(data, media_type="image/jpeg")

    async def review(self, request: Request) -> Response:
        """Record a verdict; it is on the disk before this answers."""
        asked = await asked_for(request, AskedReview, "That is no verdict on a defect.")
        recorder = self.live.recorder
        if recorder is None:
            raise RefusedError(409, "There is no roll record: start edge-run with --roll-record.")
        self._check_class(asked)
        who = person_of(request).name
        review = Review(asked.verdict, asked.class_name, who)
        if not await self._beside(lambda: self._recorded(recorder.path, asked.id, review)):
            raise RefusedError(404, "There is no such defect in the record.")
        return JsonAnswer({"id": asked.id, **review._asdict()})

    def _recorded(self, record: Path, event_id: str, review: Review) -> bool:
        """Record a verdict, and note it in the audit log; False if there is no such defect."""
        done = record_review(record, event_id, review)
        if done == "no defect":
            return False
        if done == "new" and self.live.audit is not None:
            self.live.audit.verdict(review.who, event_id, review)
            self.live.audit.anchor(record)
        return True

    def _check_class(self, asked: AskedReview) -> None:
        """Refuse a class that is none of the model, and one beside anything but a confirmation."""
        if asked.class_name is None:
            return
        names = [name for name in self.live.class_names if name != UNCLASSIFIED]
        if asked.verdict != "confirmed" or asked.class_name not in names:
            raise RefusedError(422, f"A confirmed defect may be called {', '.join(names)}.")

    async def next_roll(self, request: Request) -> Response:
        """Ask for the next roll. It begins within moments: `/roll` tells when."""
        asked = await asked_for(request, NextRoll, "A name is one line of at most 200 characters.")
        changes = self.live.changes
        if changes is None:
            raise RefusedError(409, "Inspection is not running.")
        if self.live.snapshot.phase == "ended":
            raise RefusedError(409, FINISHED)
        who = user_named(person_of(request).name)
        roll_request = RollRequest("operator", asked.name, asked.article, asked.id, who=who)
        try:
            is_new = await self._beside(lambda: changes.ask(roll_request))
        except ConfigError as error:
            raise RefusedError(409, str(error)) from error
        return JsonAnswer({"id": asked.id, "repeated": not is_new}, 202)

    async def teach(self, request: Request) -> Response:
        """Ask for the article on the loom to be learnt, or for that to end; done with the next frame."""
        asked = await asked_for(request, AskedTeaching, "Teaching may begin, or be cancelled.")
        teaching = self.live.teaching
        if teaching is None:
            raise RefusedError(409, "Nothing is learnt here: start edge-run with --auto-teach.")
        if self.live.snapshot.phase == "ended":
            raise RefusedError(409, FINISHED)
        try:
            teaching.ask(asked.request)
        except ConfigError as error:
            raise RefusedError(409, str(error)) from error
        if self.live.audit is not None:
            article = self.live.snapshot.run.terms.article
            self.live.audit.teaching(person_of(request).name, asked.request, article)
        return JsonAnswer({"request": asked.request}, 202)

    async def _beside(self, work: Callable[[], Result]) -> Result:
        """Do some work in a thread, after what others asked for; health learns what the record refuses.

        Raises:
            RefusedError: if the record cannot be read or written.
        """
        try:
            return await to_thread.run_sync(work, limiter=self.one)
        except (OutputError, RecordError, sqlite3.Error) as error:
            more = self._telling.more()
            if more is not None:
                logger.error("the page: %s%s", error, more)
            self.live.fails(str(error), is_told=more is not None)
            raise RefusedError(503, str(error)) from error


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise RefusedError(422, "That is no number.")
    return int(text)

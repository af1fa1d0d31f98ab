"""Serve the review page: an empty page with its script, and the addresses that the script asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from distill.core.value import Value
from distill.labels.florence.tasks import TASKS
from distill.labels.review.choices import Choice, PersonName
from distill.labels.review.order import Wanted
from distill.labels.review.questions import NO_TEACHER, Panel
from distill.labels.review.session import Session
from distill.labels.review.views import image_view, overview, png_of
from edge.core.errors import LoomsightError, OutputError
from edge.web.body import asked_for
from edge.web.door import Addresses, Rules, behind_door
from edge.web.responses import JsonAnswer, RefusedError, shipped_file

Result = TypeVar("Result")

SHIPPED: Final = {
    "/": ("distill.labels.review", "page.html", "text/html"),
    "/page.css": ("distill.labels.review", "page.css", "text/css"),
    "/page.js": ("distill.labels.review", "page.js", "text/javascript"),
    "/view.js": ("distill.labels.review", "view.js", "text/javascript"),
    "/icon.svg": ("edge.page", "icon.svg", "image/svg+xml"),
}

LARGEST_BODY: Final = 16 * 1024
"""Bytes; a decision has less than 5,000 even where its file has the longest name there is."""

MOST_AT_ONCE: Final = 4
"""Images that are decoded at a time; further ones wait."""


class Asked(Value):
    """Define the base of requests of the page."""


class WantedImage(Asked):
    """Name an image by its file, or by its position among those that are wanted."""

    wanted: Wanted
    name: str | None = None
    position: int | None = None


class Undo(Asked):
    """Ask for the last decision to be taken back, or for everything to be written."""

    wanted: Wanted
    by: PersonName | None = None


class TeacherQuestion(Asked):
    """Ask the teacher about an image; see `Panel.ask`."""

    task: str
    text: str = Field(default="", max_length=2000)
    image_name: str = Field(alias="image")
    place: int


class ReviewApp:
    """Answer requests about one review.

    Args:
        session: of the review.
        panel: the prompt panel.
    """

    def __init__(self, session: Session, panel: Panel) -> None:
        self._session = session
        self._panel = panel
        self._places = CapacityLimiter(MOST_AT_ONCE)
        self._teacher = CapacityLimiter(1)

    def addresses(self) -> Addresses:
        """Return what answers each address; see `behind_door`."""
        return {
            **{f"GET {path}": shipped_file(*file) for path, file in SHIPPED.items()},
            "GET /review/overview": self.overview,
            "GET /review/image": self.image,
            "GET /review/pixels": self.pixels,
            "POST /review/decide": self.decide,
            "POST /review/undo": self.undo,
            "POST /review/finish": self.finish,
            "POST /review/ask": self.ask,
        }

    async def overview(self, request: Request) -> Response:
        """Give what stays the same during a review."""
        has_teacher = self._panel.teacher is not None
        panel = {"tasks": list(TASKS) if has_teacher else [], "no_teacher": NO_TEACHER}
        return JsonAnswer(await self._beside(lambda: {**overview(self._session), **panel}))

    async def image(self, request: Request) -> Response:
        """Give one image with its regions."""
        asked = _query(request)
        view = lambda: image_view(  # noqa: E731
            self._session, asked.wanted, name=asked.name, position=asked.position
        )
        return JsonAnswer(await self._beside(view))

    async def pixels(self, request: Request) -> Response:
        """Give an image as the browser can show it."""
        name = request.query_params.get("name", "")
        return Response(await self._beside(lambda: png_of(self._session, name)), media_type="image/png")

    async def decide(self, request: Request) -> Response:
        """Record a decision; it is on the disk before this answers."""
        choice = await asked_for(request, Choice, "That is no decision.")
        warning = await self._beside(lambda: self._session.decide(choice))
        return JsonAnswer({"warning": warning, "version": self._session.version(choice.image_name)})

    async def undo(self, request: Request) -> Response:
        """Take the last decision back."""
        asked = await asked_for(request, Undo, "That cannot be undone.")
        name, warning = await self._beside(lambda: self._session.undo(asked.by))
        return JsonAnswer({"warning": warning, "image": name})

    async def finish(self, request: Request) -> Response:
        """Write all files."""
        await asked_for(request, Undo, "That cannot be finished.")
        return JsonAnswer({"decisions": await self._beside(self._session.finish)})

    async def ask(self, request: Request) -> Response:
        """Ask the teacher, one question after the other."""
        asked = await asked_for(
            request, TeacherQuestion, "A question has a task and at most 2,000 characters."
        )
        ask = lambda: self._panel.ask(asked.task, asked.text, asked.image_name, asked.place)  # noqa: E731
        text, regions = await to_thread.run_sync(ask, limiter=self._teacher)
        return JsonAnswer({"text": text, "regions": regions})

    async def _beside(self, work: Callable[[], Result]) -> Result:
        return await to_thread.run_sync(work, limiter=self._places)


def web_app(session: Session, panel: Panel, host: str, names: Sequence[str] = ()) -> Starlette:
    """Return the web application of a review, behind the door that all servers have.

    Args:
        session: of the review.
        panel: the prompt panel.
        host: address it is bound to.
        names: further names by which browsers call this device.
    """
    rules = Rules(host, names, largest_body=LARGEST_BODY)
    return behind_door(ReviewApp(session, panel).addresses(), rules, {LoomsightError: _said})


def _query(request: Request) -> WantedImage:
    try:
        return WantedImage.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RefusedError(422, "That is no question for an image.") from error


async def _said(request: Request, error: Exception) -> Response:
    """Answer with the one line that a command would print."""
    status = 507 if isinstance(error, OutputError) else 422
    return JsonAnswer({"problem": str(error)}, status)

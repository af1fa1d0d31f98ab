"""Answer requests: a refusal in one sentence, a shipped file, events for a limited number of viewers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from edge.core.palette import stylesheet

RETRY_S = "4"
"""What is told to who comes while there is no place."""


class JsonAnswer(JSONResponse):
    """Answer with JSON in ASCII, as a name of a file may hold what is no text."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class RefusedError(Exception):
    """Say why a request is not answered.

    Args:
        status: of HTTP.
        problem: one line.
    """

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem

    def answer(self) -> JsonAnswer:
        """Return the answer; the connection ends with it, as its body may not have been read."""
        headers = {"Connection": "close"}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == 503:
            headers["Retry-After"] = RETRY_S
        return JsonAnswer({"problem": self.problem}, self.status, headers)


def shipped_file(package: str, name: str, media_type: str) -> Callable[[Request], Response]:
    """Return what answers with a file of a package; a style sheet begins with the palette."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    if media_type == "text/css":
        text = stylesheet() + text
    return lambda request: Response(text, media_type=media_type)


class Viewers:
    """Count who looks. Used by the event loop only: between look and count nobody else comes in.

    Args:
        most: at a time.
    Attributes:
        count: who looks now.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0

    def enter(self) -> None:
        """Take a place.

        Raises:
            RefusedError: if there is none.
        """
        if self.count >= self.most:
            raise RefusedError(503, f"{self.most} viewers look at this page already. Close one of them.")
        self.count += 1


class EventStream(StreamingResponse):
    """Send events to a viewer as long as both want (server-sent events).

    Args:
        events: their text.
        viewers: who else looks.
    """

    def __init__(self, events: AsyncIterator[str], viewers: Viewers) -> None:
        # nginx would keep events until it has a few kilobytes of them.
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._viewers = viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a place, serve, and give it back."""
        self._viewers.enter()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._viewers.count -= 1

"""Limit those who keep a connection: counted where they connect, not where they are served."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from edge.web.refusal import RefusedError


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

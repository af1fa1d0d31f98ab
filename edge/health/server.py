"""Serve `/metrics` and `/healthz` over HTTP; read only."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typing_extensions import Self

from edge.core.errors import ConfigError, OutputError
from edge.health.metrics import metrics_text
from edge.health.state import Healths, healthz
from edge.web.address import bound_socket, in_address
from edge.web.door import Rules, behind_door
from edge.web.serving import WebServer

logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 16
"""Clients served at once; further ones are refused."""


class HealthServer:
    """Serve while a run goes on. Entering binds the port, leaving frees it.

    Args:
        cameras: how their runs are.
        host, port: to bind; port 0 takes a free one.
        names: further names of this device.
    Attributes:
        port: that was bound.
    """

    def __init__(self, cameras: Healths, host: str, port: int, names: tuple[str, ...] = ()) -> None:
        self._cameras = cameras
        self._host = host.strip("[]")
        self._names = names
        self._stack = ExitStack()
        self.port = port

    def __enter__(self) -> Self:
        """Bind.

        Raises:
            OutputError: if the port is taken or not permitted.
            MissingPackageError: if the server does not start.
        """
        try:
            bound = self._stack.enter_context(bound_socket(self._host, self.port, "health_port"))
        except ConfigError as error:
            raise OutputError(error.problem, "Set another health_port.") from error
        self.port = bound.getsockname()[1]
        with self._stack.pop_all() as stack:
            app = health_app(self._cameras, self._host, self._names)
            stack.enter_context(WebServer(app, bound, "health", most_connections=MOST_AT_ONCE))
            self._stack = stack.pop_all()
        logger.info("health on http://%s:%d/healthz and /metrics", in_address(self._host), self.port)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def health_app(cameras: Healths, host: str, names: tuple[str, ...] = ()) -> Starlette:
    """Return the application.

    Args:
        cameras: how their runs are.
        host: that is bound.
        names: further names of this device.
    """

    async def metrics(request: Request) -> Response:
        return Response(metrics_text(cameras), media_type="text/plain; version=0.0.4")

    async def health(request: Request) -> Response:
        answer = healthz(cameras)
        text = json.dumps(answer) + "\n"
        return Response(text, 200 if answer["ok"] else 503, media_type="application/json")

    async def other(request: Request) -> Response:
        return Response("/metrics or /healthz\n", 404, media_type="text/plain")

    routes = [Route("/metrics", metrics), Route("/healthz", health), Route("/{other:path}", other)]
    # Load balancers ask for health in HTTP/1.0, without a name.
    return behind_door(routes, Rules(host, names, largest_body=0, needs_name=False))

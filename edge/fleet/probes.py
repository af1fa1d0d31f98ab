"""Serve health and metrics of the office, and nothing else."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from edge.core.errors import ConfigError, OutputError
from edge.fleet.ingest import Office
from edge.web.address import bound_socket, in_address
from edge.web.door import Rules, behind_door
from edge.web.responses import RefusedError
from edge.web.serving import WebServer

logger = logging.getLogger(__name__)

MOST_PROBES: Final = 16


def serve_probes(office: Office, host: str, port: int, stack: ExitStack) -> int:
    """Serve until the stack closes; returns the port that was bound.

    Raises:
        OutputError: if the port is taken or not ours.
        MissingPackageError: if the server does not start.
    """

    async def health(request: Request) -> Response:
        answer = office.health()
        text = json.dumps(answer) + "\n"
        return Response(text, 200 if answer["ok"] else 503, media_type="application/json")

    async def metrics(request: Request) -> Response:
        return Response(office.metrics_text(), media_type="text/plain; version=0.0.4")

    async def other(request: Request) -> Response:
        raise RefusedError(404, "Here is /healthz and /metrics.")

    try:
        bound = stack.enter_context(bound_socket(host, port, "health_port"))
    except ConfigError as error:
        raise OutputError(error.problem, "Set another health_port.") from error
    rules = Rules(host, largest_body=0, needs_name=False)
    addresses = {"GET /healthz": health, "GET /metrics": metrics, "GET /{other:path}": other}
    app = behind_door(dict(addresses), rules)
    stack.enter_context(WebServer(app, bound, "health", most_connections=MOST_PROBES))
    port = bound.getsockname()[1]
    logger.info("health on http://%s:%d/healthz and /metrics", in_address(host), port)
    return port

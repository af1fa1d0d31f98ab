"""A small HTTP server for `/metrics` and `/healthz`; it only reads."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from typing_extensions import Self

from edge.errors import OutputError
from edge.health.metrics import metrics_text
from edge.health.state import Healths, healthz

logger = logging.getLogger(__name__)

REQUEST_S = 5.0
"""A client that takes longer to ask or to read is cut off."""

MOST_AT_ONCE = 8
"""Clients served at once; further ones are cut off."""


class HealthServer:
    """Serve while a run goes on. Entering binds the port, leaving frees it.

    Args:
        cameras: how their runs are.
        host, port: to bind; port 0 takes a free one.
    Attributes:
        port: that was bound.
    """

    def __init__(self, cameras: Healths, host: str, port: int) -> None:
        self._cameras = cameras
        self._host = host
        self.port = port
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        """Bind.

        Raises:
            OutputError: if the port is taken or not permitted.
        """
        try:
            self._server = _Server((self._host, self.port), self._cameras)
        except OSError as error:
            raise OutputError(
                f"Cannot serve on {self._host}:{self.port}: {error.strerror or error}.",
                "Name another --health-port.",
            ) from error
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        logger.info("health on http://%s:%d/healthz and /metrics", self._host, self.port)
        return self

    def __exit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], cameras: Healths) -> None:
        self.cameras = cameras
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without asking for the name of the address: a box without DNS would wait for that."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread of its own, if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, and give the place back whatever happened."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours."""
        logger.debug("a client of the health port went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_S
    server_version = "loomsight"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._send(200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(self.server.cameras))
        elif path == "/healthz":
            answer = healthz(self.server.cameras)
            self._send(
                200 if answer["ok"] else 503, "application/json", json.dumps(answer).encode() + b"\n"
            )
        else:
            self._send(404, "text/plain", b"/metrics or /healthz\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of the log."""
        logger.debug(format, *args)

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

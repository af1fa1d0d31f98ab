"""Who may ask the page for what: known names only, a token for changes, small bodies, no foreign pages."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.page.address import LOOPBACK, Address

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Everything comes from this server; blob: are pictures that the page fetched with its token."""

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

LARGEST_BODY: Final = 2048
"""Bytes; a verdict has less than 100, a roll with long names less than 1700."""

BODY_TIMEOUT_S: Final = 5.0


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

    def answer(self) -> JSONResponse:
        """Return the answer; the connection ends with it, as its body may not have been read."""
        headers = {"Connection": "close"}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"problem": self.problem}, self.status, headers)


class Guard:
    """Stand before the application.

    Reading is open where only this machine reaches the page and it is called by a name of this machine;
    else the token is needed for everything but the empty page itself.

    Args:
        app: the application.
        address: that is bound.
        token: the secret.
        names: further names of this box, for instance behind a proxy.
        open_paths: paths of the empty page.
    """

    def __init__(
        self, app: ASGIApp, *, address: Address, token: str, names: Sequence[str], open_paths: Sequence[str]
    ) -> None:
        self._app = app
        self._is_local = address.is_local
        self._token = token.encode()
        own = (address.host, socket.gethostname(), f"{socket.gethostname()}.local")
        self._names = {name.lower() for name in (*LOOPBACK, *names, *(() if self._is_local else own))}
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope)
        except RefusedError as refused:
            await refused.answer()(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        name = _name_of(headers.get("host", ""))
        if not self._knows(name):
            raise RefusedError(400, "This box has another name.")
        reads = scope["method"] in ("GET", "HEAD")
        if reads and scope["path"] in self._open_paths:
            return
        if reads and self._is_local and name in LOOPBACK:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), self._token):
            raise RefusedError(
                401, "The token is missing or wrong. Open the address that edge-run printed."
            )

    def _knows(self, name: str) -> bool:
        """Tell whether a Host header names this box; a number cannot be made to point elsewhere by DNS."""
        if name in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return not self._is_local


async def small_body(request: Request) -> bytes:
    """Read a JSON body of at most `LARGEST_BODY` bytes.

    Raises:
        RefusedError: if it is of another type, too large, or does not come in time.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "The body has to be JSON.")
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > LARGEST_BODY:
        raise RefusedError(413, "The body is too large.")
    try:
        return await asyncio.wait_for(_read(request), BODY_TIMEOUT_S)
    except (asyncio.TimeoutError, ClientDisconnect) as error:
        raise RefusedError(408, "The body did not come in time.") from error


async def _read(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise RefusedError(413, "The body is too large.")
    return body


def _name_of(host: str) -> str:
    """Return the name in a Host header, without the port and the brackets of IPv6."""
    name, colon, port = host.rpartition(":")
    if not colon or (port and not port.isdigit()):
        name = host
    return name.strip("[]").lower()

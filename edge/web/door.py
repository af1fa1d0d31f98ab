"""Guard every server: known names, no foreign pages, a token, small bodies, a last resort."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.accounts.guard import CommonToken, Guard
from edge.core.errors import LoomsightError
from edge.process.supervised import note_here
from edge.web.address import Names, host_name, is_loopback
from edge.web.body import with_whole_body
from edge.web.permitted import PERSON
from edge.web.responses import JsonAnswer, RefusedError

logger = logging.getLogger(__name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Everything comes from this server; blob: are images that the page fetched with its token."""

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

FORWARDING: Final = (
    "forwarded", "via", "x-forwarded", "x-real-", "x-client-ip", "x-cluster-client-ip", "x-original-",
    "x-rewrite-", "x-host", "x-proxy", "x-remote-", "x-scheme", "x-envoy-", "x-azure-", "x-arr-",
    "x-varnish", "x-appengine-", "true-client-ip", "client-ip", "cf-", "cdn-loop", "fastly-",
    "x-amzn-", "x-amz-cf-", "x-cloud-trace-context", "x-ms-", "tailscale-", "ngrok-", "proxy-",
)  # fmt: skip
"""How names of headers begin that proxies add and no browser sends."""

CAME_DIRECTLY: Final = ("same-origin", "none")
"""Values of Sec-Fetch-Site of this server's own pages, and of an address that a person typed."""


Addresses = Mapping[str, Callable[[Request], Response | Awaitable[Response]]]
"""What answers each address of a server; an address is a method and a path, as `GET /state`."""


@dataclass(frozen=True)
class Rules:
    """Say who may ask a server for what.

    Attributes:
        host: name or number that is bound.
        names: further names of this device, for instance behind a proxy.
        token: permits changes, and beyond this device reading, too; None to need none.
        guard: knows the tokens of several people, in place of one token.
        open_paths: what is served without a token.
        largest_body: bytes.
        needs_name: whether a request has to name the device; programs that check health often do not.
    """

    host: str
    names: Sequence[str] = ()
    token: str | None = field(default=None, repr=False)
    guard: Guard | None = field(default=None, repr=False)
    open_paths: Collection[str] = ()
    largest_body: int = LARGEST_BODY
    needs_name: bool = True


class Door:
    """Stand before an application.

    Reading is open where only this device reaches the server, it is called by a name of this device, and
    nothing speaks of a proxy; else the token is needed for everything but the empty page itself.

    Args:
        app: the application.
        rules: of this door.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules
        self._guard = rules.guard or (None if rules.token is None else CommonToken(rules.token))
        self._names = Names(rules.host, rules.names)
        self._open_paths = frozenset(rules.open_paths)
        self._is_behind_proxy = bool(rules.names) or not is_loopback(rules.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_started = False

        async def send_guarded(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check(scope, headers)
            body = await with_whole_body(headers, receive, self._rules.largest_body)
            await self._app(scope, body, send_guarded)
        except RefusedError as refused:
            await refused.answer()(scope, receive, send_guarded)
        # Whatever one request meets must not reach the next, nor go unseen.
        except Exception as error:
            logger.error("%s %s: %s: %s", scope["method"], scope["path"], type(error).__name__, error)
            logger.debug("where it came from", exc_info=error)
            note_here(error)
            if is_started:
                raise
            await RefusedError(500, "That went wrong; the log says why.").answer()(
                scope, receive, send_guarded
            )

    def _check(self, scope: Scope, headers: Headers) -> None:
        reads = scope["method"] in ("GET", "HEAD")
        name = self._called(headers)
        if not scope["path"].startswith("/"):
            raise RefusedError(400, "That is no path.")
        if self._is_foreign(headers, reads):
            raise RefusedError(403, "Another page asks for this.")
        if not (reads and (scope["path"] in self._open_paths or self._is_direct(scope, headers, name))):
            self._check_token(scope, headers)

    def _called(self, headers: Headers) -> str:
        """Return the name by which the device is called; empty where none is needed."""
        host = headers.get("host", "")
        name = host_name(host)
        if not self._names.know(name) and (host or self._rules.needs_name):
            raise RefusedError(400, "This device has another name.")
        return name

    def _is_direct(self, scope: Scope, headers: Headers, name: str) -> bool:
        """Tell whether a browser of this device asks: nginx before 1.29.7 adds nothing in HTTP/1.0."""
        is_proxied = self._is_behind_proxy or any(key.startswith(FORWARDING) for key in headers)
        return not is_proxied and is_loopback(name) and scope["http_version"] != "1.0"

    def _is_foreign(self, headers: Headers, reads: bool) -> bool:
        """Tell whether a page of another server asks; links to this one are followed."""
        is_link = (
            headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        )
        if reads and is_link:
            return False
        sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
        host = headers.get("host", "").lower()
        return any(site not in CAME_DIRECTLY for site in sites) or not all(
            self._is_own(origin.lower(), host) for origin in origins
        )

    def _is_own(self, origin: str, host: str) -> bool:
        scheme, mark, place = origin.partition("://")
        return scheme in ("http", "https") and bool(mark) and (
            place == host or host_name(place) in self._names.further
        )  # fmt: skip

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        """Refuse a request without a token, and note whose token it has."""
        if self._guard is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        try:
            person = self._guard.person(given.strip()) if scheme.lower() == "bearer" else None
        except LoomsightError as error:
            logger.error("every token is refused: %s", error)
            raise RefusedError(503, str(error)) from error
        scope.setdefault("state", {})[PERSON] = person
        if person is None:
            raise RefusedError(
                401, "The token is missing or wrong. Open the address that edge-run printed."
            )


def behind_door(addresses: Addresses, rules: Rules, handlers: dict[Any, Any] | None = None) -> Starlette:
    """Return an application behind its door.

    Args:
        addresses: what answers each.
        rules: of the door.
        handlers: of errors that a command would print as one line; without, they are answered with 503.
    """
    routes = []
    for address, answer in addresses.items():
        method, path = address.split(" ")
        routes.append(Route(path, answer, methods=[method]))
    known: dict[Any, Any] = {RefusedError: _refused, LoomsightError: _said, **(handlers or {})}
    return Starlette(routes=routes, middleware=[Middleware(Door, rules=rules)], exception_handlers=known)


async def _refused(request: Request, error: RefusedError) -> Response:
    return error.answer()


async def _said(request: Request, error: LoomsightError) -> Response:
    """Answer with the one line that a command would print."""
    return JsonAnswer({"problem": str(error)}, status_code=503)

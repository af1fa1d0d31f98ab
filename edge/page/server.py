"""The page's web server: a thread of its own beside inspection."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from contextlib import ExitStack, suppress

import uvicorn
from typing_extensions import Self

from edge import __version__
from edge.cameras.protocol import Camera
from edge.config import EdgeConfig
from edge.errors import MissingPackageError
from edge.page.address import bound_socket, parse_address
from edge.page.app import PageApp, web_app
from edge.page.connection import GuardedProtocol
from edge.page.live import LivePage
from edge.page.token import page_token

logger = logging.getLogger(__name__)

PATIENCE_S = 1
"""Open pages hold connections for ever; they get so long to end."""

START_S = 10.0

UNREAD_BYTES = 128 * 1024
"""The system keeps so much for a reader that does not read (Linux twice that), in place of megabytes."""


class PageServer:
    """Serve a page from entering to leaving.

    Args:
        app: of the page.
        server: uvicorn's, with the application; its sockets are given.
    """

    def __init__(self, app: PageApp, server: uvicorn.Server, run: threading.Thread) -> None:
        self._app = app
        self._server = server
        self._thread = run

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._app.closing = True
        self._server.should_exit = True
        self._thread.join(PATIENCE_S + START_S)


def open_page(config: EdgeConfig, camera: Camera, stack: ExitStack) -> LivePage:
    """Bind the page's address and serve it until the stack closes.

    The address with the token goes to stderr, once. A token of a file is not shown.

    Raises:
        ConfigError: if the address is taken or not ours, or the token's file is no such thing.
        MissingPackageError: if the server does not start.
    """
    if config.page is None:
        raise ValueError("the settings name no page")
    address, token = parse_address(config.page), page_token(config.page_token_file)
    bound = stack.enter_context(bound_socket(address.host, address.port, "--page"))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
    live = LivePage(
        camera.name, __version__, can_review=config.roll_record is not None, is_live=camera.is_live
    )
    page = PageApp(live)
    settings = uvicorn.Config(
        web_app(page, address, token, config.page_hosts),
        http=GuardedProtocol,
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=16 * 1024,
        timeout_graceful_shutdown=PATIENCE_S,
    )
    server = uvicorn.Server(settings)

    def run() -> None:
        with suppress(SystemExit):  # uvicorn's way to say that the application did not start
            server.run([bound])

    thread = threading.Thread(target=run, name="page", daemon=True)
    stack.enter_context(PageServer(page, server, thread))
    if not thread.is_alive():
        raise MissingPackageError(
            "The page does not start.", "Install anew: `pip install 'loomsight[mill]'`."
        )
    url = address.url(bound.getsockname()[1])
    sys.stderr.write(f"page: {url}{'' if config.page_token_file else f'#token={token}'}\n")
    sys.stderr.flush()
    if not address.is_local:
        logger.warning("the page is open to the network, and http is not encrypted: see docs/page.md")
    return live

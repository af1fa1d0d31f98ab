"""The page's web server: a thread of its own beside inspection."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import uvicorn
from typing_extensions import Self

from edge import __version__
from edge.cameras.protocol import Camera
from edge.config import EdgeConfig
from edge.errors import MissingPackageError
from edge.page.address import bound_socket, parse_address
from edge.page.app import PageApp, web_app
from edge.page.box import box_app
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
    """Serve pages from entering to leaving.

    Args:
        pages: one for each camera.
        server: uvicorn's, with the application; its sockets are given.
    """

    def __init__(self, pages: Sequence[PageApp], server: uvicorn.Server, run: threading.Thread) -> None:
        self._pages = pages
        self._server = server
        self._thread = run

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for page in self._pages:
            page.closing = True
        self._server.should_exit = True
        self._thread.join(PATIENCE_S + START_S)


def live_page(config: EdgeConfig, camera: Camera | None, called: str) -> LivePage:
    """Return what a camera's run tells its page; of a camera that is not there, only that."""
    is_live = camera is not None and camera.is_live
    return LivePage(called, __version__, can_review=config.roll_record is not None, is_live=is_live)


def open_page(config: EdgeConfig, camera: Camera, stack: ExitStack) -> LivePage:
    """Bind the page's address and serve the page of the only camera until the stack closes; see `serve`."""
    live = live_page(config, camera, camera.name)
    serve(config, {None: live}, stack)
    return live


def serve(config: EdgeConfig, cameras: dict[str | None, LivePage], stack: ExitStack) -> None:
    """Bind the page's address and serve it until the stack closes.

    The address with the token goes to stderr, once. A token of a file is not shown.

    Args:
        config: says where; several cameras have that in common.
        cameras: by name; each has a page below it. The only one has no name; its page is the first.
        stack: ends it.
    Raises:
        ConfigError: if the address is taken or not ours, or the token's file is no such thing.
        MissingPackageError: if the server does not start.
    """
    if config.page is None:
        raise ValueError("the settings name no page")
    address, token = parse_address(config.page), page_token(config.page_token_file)
    bound = stack.enter_context(bound_socket(address.host, address.port, "--page"))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
    if None in cameras:
        pages = [PageApp(cameras[None])]
        app = web_app(pages[0], address, token, config.page_hosts)
    else:
        named = {str(name): PageApp(live) for name, live in cameras.items()}
        pages, app = list(named.values()), box_app(named, address, token, config.page_hosts)
    settings = uvicorn.Config(
        app,
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
    stack.enter_context(PageServer(pages, server, thread))
    if not thread.is_alive():
        raise MissingPackageError(
            "The page does not start.", "Install anew: `pip install 'loomsight[mill]'`."
        )
    url = address.url(bound.getsockname()[1])
    sys.stderr.write(f"page: {url}{'' if config.page_token_file else f'#token={token}'}\n")
    sys.stderr.flush()
    if not address.is_local:
        logger.warning("the page is open to the network, and http is not encrypted: see docs/page.md")

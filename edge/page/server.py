"""Run the page's web server in a thread beside inspection, with the secret that permits changes."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from edge import __version__
from edge.cameras.protocol import Camera
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError
from edge.core.files import cannot_write, rename_without_replacing
from edge.core.outside_files import check_private, read_text
from edge.page.app import MOST_VIEWERS, PageApp, web_app
from edge.page.device import device_app
from edge.page.live import LivePage
from edge.process.terminal import say
from edge.web.address import bound_socket, parse_address
from edge.web.connection import MOST_CONNECTIONS
from edge.web.serving import WebServer

logger = logging.getLogger(__name__)

LEAST_CHARACTERS = 16
"""Shorter ones could be guessed."""


def live_page(config: EdgeConfig, camera: Camera | None, called: str) -> LivePage:
    """Return what a camera's run tells its page; of a camera that is not there, only that."""
    is_live = camera is not None and camera.is_live
    return LivePage(called, __version__, can_review=config.roll_record is not None, is_live=is_live)


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
    if None in cameras:
        pages = [PageApp(cameras[None])]
        app = web_app(pages[0], address, token, config.page_hosts)
    else:
        named = {str(name): PageApp(live) for name, live in cameras.items()}
        pages, app = list(named.values()), device_app(named, address, token, config.page_hosts)
    most = None if len(pages) == 1 else MOST_CONNECTIONS + MOST_VIEWERS * (len(pages) - 1)
    at_end = [page.close for page in pages]
    stack.enter_context(WebServer(app, bound, "page", at_end=at_end, most_connections=most))
    url = address.url(bound.getsockname()[1])
    say(f"page: {url}{'' if config.page_token_file else f'#token={token}'}")
    if not address.is_local:
        logger.warning("the page is open to the network, and http is not encrypted: see docs/page.md")


def page_token(file: Path | None) -> str:
    """Return the token of a file, which is made if it is not there; without a file, a new one.

    Raises:
        ConfigError: if others may read the file, it belongs to another user, or what it holds is no token.
        OutputError: if it cannot be made.
    """
    if file is None:
        return secrets.token_urlsafe(24)
    if not file.exists():
        _make_token(file)
    check_private(file, "page_token_file")
    token = read_text(file, cure="Check page_token_file.").strip()
    if len(token) < LEAST_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"page_token_file {file} holds no token: one word of at least {LEAST_CHARACTERS} characters.",
            "Delete the file and edge-run makes one.",
        )
    return token


def _make_token(file: Path) -> None:
    """Write a new token; its file gets the name when it is whole: with half of one the next start fails."""
    whole: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        made, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # of its owner only
        whole = Path(name)
        with os.fdopen(made, "w", encoding="ascii") as stream:
            stream.write(f"{secrets.token_urlsafe(24)}\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):  # another run has just made one
            rename_without_replacing(whole, file)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        if whole is not None:
            whole.unlink(missing_ok=True)

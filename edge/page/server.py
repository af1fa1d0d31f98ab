"""Serve a device's page and health in threads beside inspection, with the secret that permits changes."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from edge.accounts.guard import DeviceUsers, guard_of
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError, OutputError
from edge.core.files import cannot_write, rename_without_replacing
from edge.core.outside_files import check_private, read_text
from edge.health.state import Healths
from edge.page.app import MOST_VIEWERS
from edge.page.device import Pages, device_app, pages_of, probe_app
from edge.page.live import LivePage
from edge.process.terminal import say
from edge.web.address import Address, bound_socket, in_address, parse_address
from edge.web.connection import MOST_CONNECTIONS
from edge.web.serving import WebServer

logger = logging.getLogger(__name__)

LEAST_CHARACTERS = 16
"""Shorter ones could be guessed."""

MOST_PROBES: Final = 16
"""Clients served at once at `health_port`; further ones are refused."""


def serve(
    config: EdgeConfig, healths: Healths, lives: Mapping[str | None, LivePage], stack: ExitStack
) -> str | None:
    """Serve a device until the stack closes: all at its page's address, probes alone at `health_port`.

    Returns:
        Address of the page; None where there is none.

    Args:
        config: says where; several cameras have that in common.
        healths: of the cameras.
        lives: what their pages show; none where no page is served.
        stack: ends it.
    Raises:
        ConfigError: if the page's address is taken or not ours, or the file of the token or of the users
            is no such thing.
        OutputError: if the port of health is.
        MissingPackageError: if a server does not start.
    """
    url = None
    if config.page is not None:
        url = _serve_page(config, parse_address(config.page), pages_of(lives), stack)
    if config.health_port is not None:
        serve_probes(config, config.health_port, healths, stack)
    return url


def _serve_page(config: EdgeConfig, address: Address, pages: Pages, stack: ExitStack) -> str:
    """Serve everything; the address with the token goes to stderr, once. A token of a file is not shown."""
    token = page_token(config.page_token_file)
    guard = guard_of(config.page_users_file, token)
    bound = stack.enter_context(bound_socket(address.host, address.port, "--page"))
    app = device_app(pages, address, guard, config.page_hosts)
    most = MOST_CONNECTIONS + MOST_VIEWERS * (len(pages) - 1)
    at_end = [page.close for page in pages.values()]
    stack.enter_context(WebServer(app, bound, "page", at_end=at_end, most_connections=most))
    url = address.url(bound.getsockname()[1])
    has_users = isinstance(guard, DeviceUsers) and guard.has_users
    url += "" if config.page_token_file or has_users else f"#token={token}"
    say(f"page: {url}")
    if not address.is_local:
        logger.warning("the page is open to the network, and http is not encrypted: see docs/page.md")
    return url


def serve_probes(config: EdgeConfig, port: int, healths: Healths, stack: ExitStack) -> int:
    """Serve health and metrics alone, without a token; returns the port that was bound."""
    host = config.health_host.strip("[]")
    try:
        bound = stack.enter_context(bound_socket(host, port, "health_port"))
    except ConfigError as error:
        raise OutputError(error.problem, "Set another health_port.") from error
    app = probe_app(healths, host, config.page_hosts)
    stack.enter_context(WebServer(app, bound, "health", most_connections=MOST_PROBES))
    port = bound.getsockname()[1]
    logger.info("health on http://%s:%d/healthz and /metrics", in_address(host), port)
    return port


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

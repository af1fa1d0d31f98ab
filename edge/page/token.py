"""The secret that permits changes on the page."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from edge.errors import ConfigError
from edge.outside_files import read_text
from edge.secret_files import check_private
from edge.sinks.files import cannot_write

LEAST_CHARACTERS = 16
"""Shorter ones could be guessed."""


def page_token(file: Path | None) -> str:
    """Return the token of a file, which is made if it is not there; without a file, a new one.

    Raises:
        ConfigError: if others may read the file, it belongs to another user, or what it holds is no token.
        OutputError: if it cannot be made.
    """
    if file is None:
        return secrets.token_urlsafe(24)
    if not file.exists():
        _make(file)
    check_private(file, "page_token_file")
    token = read_text(file, cure="Check page_token_file.").strip()
    if len(token) < LEAST_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"page_token_file {file} holds no token: one word of at least {LEAST_CHARACTERS} characters.",
            "Delete the file and edge-run makes one.",
        )
    return token


def _make(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(24) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise cannot_write(file, error) from error

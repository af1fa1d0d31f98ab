"""Make and check the secret that permits changes on the page."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from edge.core.errors import ConfigError
from edge.core.files import cannot_write, rename_without_replacing
from edge.core.outside_files import read_text
from edge.core.secret_files import check_private

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

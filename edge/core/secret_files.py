"""Read files that hold a secret; refuse them while others may read them, as PostgreSQL does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge.core.errors import ConfigError


def check_private(file: Path, setting: str) -> None:
    """Refuse a file with a secret that others may read or replace.

    It belongs to who runs this and is closed to all others, or to root, who may let a group read it.

    Args:
        file: as the setting names it.
        setting: that names it, for the message.
    Raises:
        ConfigError: if it is missing, is no regular file, belongs to somebody else, or is open to others.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {error.strerror or error}.", f"Check {setting}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{setting} {file} is no regular file.", "Name a file.")
    mode, own = stat.S_IMODE(status.st_mode), os.geteuid()
    if status.st_uid not in (own, 0):
        raise ConfigError(
            f"{setting} {file} belongs to another user (number {status.st_uid}), who can change it.",
            f"Run `chown {own} {file} && chmod 600 {file}`.",
        )
    if mode & (0o077 if status.st_uid == own else 0o037):
        raise ConfigError(
            f"Others may read {setting} {file} (mode {mode:04o}).", f"Run `chmod 600 {file}`."
        )

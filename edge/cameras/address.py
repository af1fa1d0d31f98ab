"""Addresses of cameras."""

from __future__ import annotations

import re


def redact_credentials(url: str) -> str:
    """Hide user and password of a URL, for messages, logs and records.

    Everything up to the last @ goes: passwords with an @ or a slash in them are common.
    """
    return re.sub(r"://.*@", "://***@", url)

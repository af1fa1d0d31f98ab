"""Serve files of an empty page that are part of a package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response


def shipped_file(package: str, name: str, media_type: str) -> Callable[[Request], Response]:
    """Return what answers with a file of a package."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return lambda request: Response(text, media_type=media_type)

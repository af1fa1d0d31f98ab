"""Serve the pages of several cameras: one below each name, and an overview before them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from edge.page.app import SHIPPED, PageApp, guarded
from edge.page.state import state_json
from edge.web.address import Address
from edge.web.responses import JsonAnswer, shipped_file

INDEX: Final = {
    "/": ("device.html", "text/html"),
    "/index.js": ("index.js", "text/javascript"),
    **{path: SHIPPED[path] for path in ("/page.css", "/device.js", "/icon.svg")},
}
"""The empty page before the others: served without a token, as theirs are."""

TOLD: Final = (
    "phase",
    "camera",
    "along_m",
    "speed_m_min",
    "frames_per_s",
    "coverage",
    "defects",
    "troubles",
)
"""What is said of each camera before one goes to its page."""


def device_app(
    pages: Mapping[str, PageApp], address: Address, token: str, names: Sequence[str]
) -> Starlette:
    """Return the application of several cameras; see `guarded`.

    Args:
        pages: by the name of the camera.
        address, token, names: as of `guarded`.
    """
    first, *others = pages.values()
    for page in others:
        page.one = first.one
    open_paths = [*INDEX, *(f"/{name}{path}" for name in pages for path in SHIPPED)]

    def cameras(request: Request) -> Response:
        return JsonAnswer(cameras_json(pages))

    routes: list[BaseRoute] = [
        *(Route(path, shipped_file("edge.page", *file)) for path, file in INDEX.items()),
        Route("/cameras.json", cameras),
        *(Mount(f"/{name}", routes=page.routes()) for name, page in pages.items()),
    ]
    return guarded(routes, open_paths, address, token, names)


def cameras_json(pages: Mapping[str, PageApp]) -> dict[str, dict[str, Any]]:
    """Return how the camera of each page is, as plain values."""
    now_s = time.monotonic()
    return {
        name: {key: value for key, value in state_json(page.live, now_s).items() if key in TOLD}
        for name, page in pages.items()
    }

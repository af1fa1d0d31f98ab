"""Name every address of a device, and what answers it: pages of its cameras, probes of its health."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from edge.accounts.guard import CommonToken, Guard
from edge.health.metrics import metrics_text
from edge.health.state import Healths, healthz
from edge.page.app import SHIPPED, CameraPage
from edge.page.live import LivePage
from edge.page.state import state_json
from edge.web.address import Address
from edge.web.door import Addresses, Rules, behind_door
from edge.web.responses import JsonAnswer, RefusedError, shipped_file

INDEX: Final = {
    "/": ("device.html", "text/html"),
    "/index.js": ("index.js", "text/javascript"),
    **{path: SHIPPED[path] for path in ("/page.css", "/device.js", "/numbers.js", "/icon.svg")},
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
    "boxes",
    "image",
    "grade",
    "sees",
    "troubles",
)
"""What is said of each camera before one goes to its page."""

Pages = Mapping[str | None, CameraPage]
"""The pages of a device by the name of the camera; None is the name of the only one."""


def pages_of(lives: Mapping[str | None, LivePage]) -> Pages:
    """Return the pages of a device; they never work on two things at once."""
    one = CapacityLimiter(1)
    return {name: CameraPage(live, one) for name, live in lives.items()}


def device_app(pages: Pages, address: Address, token: str | Guard, names: Sequence[str]) -> Starlette:
    """Return the application of a device, with all its addresses.

    The only camera has its page at the first address. Several have theirs below their names, and an
    overview comes before them.

    Args:
        pages: of its cameras.
        address: that is bound.
        token: permits changes, and beyond this machine reading, too; of several people what knows theirs.
        names: further names of this device.
    """
    if None in pages:
        addresses, empty_pages = pages[None].addresses(), list(SHIPPED)
    else:
        addresses = _addresses_of_several(pages)
        empty_pages = [*INDEX, *(f"/{name}{path}" for name in pages for path in SHIPPED)]
    guard = CommonToken(token) if isinstance(token, str) else token
    rules = Rules(address.host, names, guard=guard, open_paths=empty_pages)
    probes = _probes({name: page.live.health for name, page in pages.items()})
    return behind_door({**addresses, **probes}, rules)


def probe_app(cameras: Healths, host: str, names: Sequence[str]) -> Starlette:
    """Return the application with the addresses alone that programs need which watch a device."""

    async def other(request: Request) -> Response:
        raise RefusedError(404, "Here is /healthz and /metrics.")

    # Load balancers ask for health in HTTP/1.0, without a name.
    rules = Rules(host, names, largest_body=0, needs_name=False)
    return behind_door({**_probes(cameras), "GET /{other:path}": other}, rules)


def _probes(cameras: Healths) -> Addresses:
    async def health(request: Request) -> Response:
        answer = healthz(cameras)
        text = json.dumps(answer) + "\n"
        return Response(text, 200 if answer["ok"] else 503, media_type="application/json")

    async def metrics(request: Request) -> Response:
        return Response(metrics_text(cameras), media_type="text/plain; version=0.0.4")

    return {"GET /healthz": health, "GET /metrics": metrics}


def _addresses_of_several(pages: Pages) -> Addresses:
    async def cameras(request: Request) -> Response:
        for page in pages.values():
            with suppress(RefusedError):  # the state says what is wrong with the record
                await page.look_at_grade()
        return JsonAnswer(cameras_json(pages))

    return {
        **{f"GET {path}": shipped_file("edge.page", *file) for path, file in INDEX.items()},
        "GET /cameras.json": cameras,
        **{
            address.replace("/", f"/{name}/", 1): answer
            for name, page in pages.items()
            for address, answer in page.addresses().items()
        },
    }


def cameras_json(pages: Pages) -> dict[str, dict[str, Any]]:
    """Return how the camera of each page is, as plain values."""
    now_s = time.monotonic()
    return {
        str(name): {key: value for key, value in state_json(page.live, now_s).items() if key in TOLD}
        for name, page in pages.items()
    }

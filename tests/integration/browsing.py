"""A real headless browser beside a real run with a page."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.processes import program

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: `apt-get install chromium`")

START_S = 240
"""A busy processor may take minutes for what takes seconds on an idle one."""

LOOM = (
    "loom:seed=7,width_px=512,scan=area,height_px=320,frames_hz=4,speed_m_min=20,live=true,"
    "defects_per_m=4,difficulties=obvious"
)
"""Images of 64 mm every 83 mm: some show a defect, and between two there is always a gap.

The list holds the last 30: that many do not pass while a test looks at one of them on a busy processor."""


@contextmanager
def edge_run(folder, page="0", *more, token=None):
    """Run edge-run with a page, its secret in the file `token`; yields the process and its address."""
    command = program(
        "edge-run", "--camera", LOOM, "--page", page,
        "--roll-record", folder / "rolls.db", "--roll", "A17", "--save-pictures", folder / "found",
        "--threads", "1", *more,
    )  # fmt: skip
    secret = {} if token is None else {"LOOMSIGHT_EDGE_PAGE_TOKEN_FILE": str(token)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **secret},
    ) as process:  # fmt: skip
        watchdog = threading.Timer(4 * START_S, process.kill)  # of the whole test, of many waits
        watchdog.start()
        drain = threading.Thread(target=process.stderr.read)
        try:
            first = process.stderr.readline()
            assert first.startswith("page: http://"), first + process.stderr.read()
            drain.start()
            yield process, first.split()[1]
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
            drain.join()


@contextmanager
def tab_of(browser, address, width, height):
    """Yield a tab; afterwards no error may have been said and no foreign host asked."""
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    tab = context.new_page()
    tab.set_default_timeout(START_S * 1000)
    tab.errors, hosts = [], set()
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("console", lambda line: line.type == "error" and tab.errors.append(line.text))
    tab.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    tab.goto(address)
    yield tab
    assert hosts - {None} == {"127.0.0.1"}  # None: blob addresses
    context.close()


def axe_findings(tab):
    """Return what axe-core finds serious or critical on a page, in light and in dark: rule and elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        violations = Axe().run(tab).response["violations"]
        found += [
            (scheme, one["id"], [node["html"][:120] for node in one["nodes"]])
            for one in violations
            if one["impact"] in ("serious", "critical")
        ]
    tab.emulate_media(color_scheme="light")
    return found


def fits(tab):
    """Tell whether nothing of a page lies beyond its width."""
    return tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def until(tab, script):
    """Wait until a script says true; the page's policy forbids the browser's own way to wait."""
    end_s = time.monotonic() + START_S
    while not tab.evaluate(script):
        assert time.monotonic() < end_s, script
        time.sleep(0.05)

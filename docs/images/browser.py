"""Take images of pages in a real browser, cut where a section ends, and write them in their colours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

from made import note
from PIL import Image as PillowImage
from playwright.sync_api import Browser, Page, sync_playwright

HERE: Final = Path(__file__).resolve().parent
MOST_BYTES: Final = 480_000
BELOW_PX: Final = 6
"""Of the page below the last section that is shown."""

END = """([sections, most]) => {
  const ends = [...document.querySelectorAll(sections)].map((one) => one.getBoundingClientRect().bottom);
  const fitting = ends.map((end) => end + window.scrollY).filter((end) => end > 0 && end <= most);
  return fitting.length ? Math.max(...fitting) : most;
}"""
"""Where the last of some elements ends that ends above a line, in pixels of the page."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser, and end it."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def shown(tab: Page, sections: str, most_px: int) -> bytes:
    """Return an image of a page from its start to the end of a section: nothing is cut in its middle.

    Args:
        tab: with the page.
        sections: selector of what may be the last that is shown.
        most_px: height above which it ends.
    """
    width = tab.evaluate("document.documentElement.clientWidth")
    height = tab.evaluate(END, [sections, most_px])
    clip = {"x": 0, "y": 0, "width": width, "height": height + BELOW_PX}
    return tab.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]


def save(name: str, screenshot: bytes, program: str) -> None:
    """Write a screenshot, with as many colours as keep the file small, and note what made it."""
    file = HERE / name
    image = PillowImage.open(BytesIO(screenshot)).convert("RGB")
    for colours in (None, 256, 128, 64):
        fewer = image if colours is None else image.quantize(colours, kmeans=2)
        fewer.save(file, optimize=True)
        if file.stat().st_size < MOST_BYTES:
            break
    note(file, program)
    print(f"{name}: {image.width} x {image.height} px, {file.stat().st_size / 1000:.0f} kB")

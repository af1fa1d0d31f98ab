"""Take the images of the live page: a simulated roll that lost lines, a desk and a phone, a real browser.

Run `python docs/images/page.py` in the root of the repository. It needs the extra mill, playwright and
Chromium.
"""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from browser import chromium, save, shown
from playwright.sync_api import Page

import edge.app.assembly
import edge.app.run
from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.cameras.protocol import Frame
from edge.config.edge import EdgeConfig

LOOM = (
    "loom:seed=16,width_px=1024,length_m=4,defects_per_m=3,difficulties=obvious+clear,"
    "mean_grey=140,live=true,speed_m_min=1.5"
)
LOST_BLOCKS = range(20, 24)
PLACED = """([places, isPlanted]) => [...document.querySelectorAll('#defects li')].find((card) => {
  const [along, left] = card.querySelector('.where div').textContent.match(/[0-9.]+/g).map(Number);
  const isHit = places.some(([start, end, from, to]) =>
    along > start - 0.03 && along < end + 0.03 && left > from - 5 && left < to + 5);
  return isHit === isPlanted && card.querySelector('img[src^=blob]') && card.querySelector('.yes');
})"""
"""The newest card without a verdict whose defect was planted, or was not."""

BEFORE_S = 300.0
BOXED = """() => {
  const image = document.querySelector('#cloth img');
  if (!image.naturalWidth) return false;
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  for (let i = 0; i < data.length; i += 4) if (Math.abs(data[i] - data[i + 2]) > 80) return true;
  return false;
}"""


class LosingLoom(LoomCamera):
    """A simulated loom whose camera loses a stretch of lines."""

    def read(self) -> Frame | None:
        """Return the next block that was not lost."""
        while (frame := super().read()) is not None and frame.frame_id in LOST_BLOCKS:
            pass
        return frame


def main() -> None:
    """Write page.png and page-phone.png."""
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        run = threading.Thread(target=inspect, args=(Path(folder), port))
        run.start()
        token = Path(folder) / "token"
        while not token.exists():
            time.sleep(0.1)
        time.sleep(1.0)
        taken(f"http://127.0.0.1:{port}/#token={token.read_text().strip()}")
        run.join()


def inspect(folder: Path, port: int) -> None:
    """Inspect the roll with a page."""
    edge.app.assembly.choose_camera = lambda *_: LosingLoom(parse_loom_options(LOOM))  # type: ignore[attr-defined]
    edge.app.run.run(
        EdgeConfig(
            camera=LOOM, roll_record=folder / "rolls.db", roll="roll 7", article="twill 220",
            save_pictures=folder / "found", page=str(port), page_token_file=folder / "token",
            queue_frames=1024,
        )
    )  # fmt: skip


def taken(address: str) -> None:
    """Take images of the page at a desk, and in the dark on a phone."""
    with chromium() as browser:
        desk = browser.new_page(viewport={"width": 1280, "height": 800})
        desk.goto(address)
        until(desk, "document.querySelectorAll('#defects .yes').length >= 4")
        card(desk, LOOM, is_planted=True).query_selector(".yes").click()
        card(desk, LOOM, is_planted=False).query_selector(".no").click()
        until(desk, "document.querySelectorAll('#defects .stamp').length == 2")
        until(desk, BOXED)
        save("page.png", shown(desk, "main > section, main > section li", 800), "page.py")
        dark = browser.new_context(color_scheme="dark", device_scale_factor=2)
        phone = dark.new_page()
        phone.set_viewport_size({"width": 360, "height": 874})
        phone.goto(address)
        until(phone, "document.querySelectorAll('#defects .stamp').length > 0")
        until(phone, BOXED)
        save("page-phone.png", shown(phone, "main > section, #numbers, #legend", 900), "page.py")


def card(tab: Page, loom: str, *, is_planted: bool) -> Any:
    """Wait for a card in the list whose defect was planted, or was not, and return it."""
    with LoomCamera(parse_loom_options(loom)) as camera:
        places = [[*one.along_m, *one.across_mm] for one in camera.planted_up_to(100.0)]
    end_s = time.monotonic() + BEFORE_S
    while (found := tab.evaluate_handle(PLACED, [places, is_planted]).as_element()) is None:
        if time.monotonic() > end_s:
            raise TimeoutError(f"no such card within {BEFORE_S:g} s: is_planted={is_planted}")
        time.sleep(0.2)
    return found


def until(tab: Page, script: str) -> None:
    """Wait until a script returns true: an image of anything else is not taken."""
    end_s = time.monotonic() + BEFORE_S
    while not tab.evaluate(script):
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {BEFORE_S:g} s: {script}")
        time.sleep(0.05)


if __name__ == "__main__":
    main()

"""Take the images of an article on the live page: naming a defect, the contact sheet; in a real browser.

Run `python docs/pictures/page_article.py` in the root of the repository. It needs the extra mill,
playwright and Chromium. It teaches the article first.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from page import save, until
from playwright.sync_api import sync_playwright

import edge.run
from edge.config import EdgeConfig
from edge.teach.budget import Budget
from edge.teach.reading import ReadingLimits
from edge.teach.teaching import TeachWish, teach

CLOTH = "weave=plain,width_px=512,mean_grey=140,bed_left_mm=0,bed_right_mm=0"
CLEAN = f"loom:seed=3,defects_per_m=0,length_m=5,{CLOTH}"
ROLL = f"loom:seed=11,length_m=4,defects_per_m=3,difficulties=clear+subtle,live=true,speed_m_min=2,{CLOTH}"
BUDGET = Budget(10.0, "100 m")


def main() -> None:
    """Write page-naming.png and page-sheet.png."""
    with TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as free:
        folder, port = Path(name), free.getsockname()[1]
        free.close()
        article = folder / "articles" / "twill-220"
        article.parent.mkdir()
        wish = TeachWish("twill 220", BUDGET, article, limits=ReadingLimits())
        teach(EdgeConfig(camera=CLEAN), wish)
        run = threading.Thread(target=inspect, args=(folder, article, port))
        run.start()
        token = folder / "token"
        while not token.exists():
            time.sleep(0.1)
        time.sleep(1.0)
        taken(f"http://127.0.0.1:{port}/", token.read_text().strip())
        run.join()


def inspect(folder: Path, article: Path, port: int) -> None:
    """Inspect a roll of the article with a page."""
    edge.run.run(
        EdgeConfig(
            camera=ROLL, roll_record=folder / "rolls.db", roll="roll 11", article="twill 220",
            reference=article, save_pictures=folder / "found", page=str(port),
            page_token_file=folder / "token",
        )
    )  # fmt: skip


def taken(address: str, token: str) -> None:
    """Take the contact sheet at a desk, and a defect that is named on a phone."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        desk = browser.new_page(viewport={"width": 900, "height": 760})
        desk.goto(f"{address}#token={token}")
        until(desk, "document.querySelector('#article strong').textContent")
        desk.goto(f"{address}sheet")
        until(desk, "document.querySelectorAll('#places button').length > 4")
        desk.locator("#places button").nth(2).click()
        until(desk, "document.querySelector('#again code').textContent")
        save("page-sheet.png", desk.screenshot())
        context = browser.new_context(device_scale_factor=2, viewport={"width": 360, "height": 700})
        phone = context.new_page()
        phone.goto(f"{address}#token={token}")
        until(phone, "document.querySelector('#defects img.picture[src^=blob][alt^=unclassified]')")
        phone.locator("#defects img.picture[src^=blob][alt^=unclassified]").first.click()
        until(phone, "document.querySelector('#large').open")
        save("page-naming.png", phone.screenshot())


if __name__ == "__main__":
    main()

"""Take the images of an article on the live page: naming, contact sheet, teaching; in a real browser.

Run `python docs/images/page_article.py` in the root of the repository. It needs the extra mill,
playwright and Chromium. It teaches the article first.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import chromium, save, shown
from page import card, until

import edge.app.run
from edge.config.alarm_budget import Budget
from edge.config.articles import ArticleSettings
from edge.config.auto_teach import AutoTeachSettings
from edge.config.edge import EdgeConfig
from edge.teach.reading import ReadingLimits
from edge.teach.teaching import TeachRequest, teach

CLOTH = "weave=plain,width_px=512,mean_grey=140,bed_left_mm=0,bed_right_mm=0"
CLEAN = f"loom:seed=3,defects_per_m=0.3,difficulties=clear,categories=stain,length_m=5,{CLOTH}"
"""Not quite clean: the contact sheet shows a stain that somebody overlooked, and it is marked."""

LIVE = f"live=true,texture_lines=907,{CLOTH}"
ROLL = (
    "loom:seed=3,length_m=2.5,defects_per_m=4,difficulties=obvious,categories=hole+nep,speed_m_min=1,"
    f"{LIVE}"
)
"""Other metres of the cloth that is taught: the seed draws its yarns and lamp."""

LEARNT = f"loom:seed=3,length_m=3,defects_per_m=0,speed_m_min=1.5,{LIVE}"
BUDGET = Budget(10.0, "100 m")
PROGRAM = "page_article.py"
BUSY = 1024
"""Frames that may wait, so that a computer that is busy for a moment does not drop any."""


def main() -> None:
    """Write page-naming.png, page-sheet.png, page-teaching.png and page-known.png."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        article = folder / "articles" / "twill-220"
        article.parent.mkdir()
        request = TeachRequest("twill 220", BUDGET, article, limits=ReadingLimits())
        teach(EdgeConfig(camera=CLEAN), request)
        beside(of_the_article(folder, article), taken)
        beside(of_an_unknown_article(folder, article), taken_of_teaching)


def of_the_article(folder: Path, article: Path) -> EdgeConfig:
    """Return the settings of a roll of the article."""
    return EdgeConfig(
        camera=ROLL, roll_record=folder / "rolls.db", roll="roll 11", article="twill 220",
        reference=article, save_pictures=folder / "found", page_token_file=folder / "token",
        score_thresholds=dict.fromkeys(("wrinkle", "drop", "broken"), 1.0),  # a detector that knows nothing
    )  # fmt: skip


def of_an_unknown_article(folder: Path, article: Path) -> EdgeConfig:
    """Return the settings of a roll whose article nobody taught; its cloth is that of the other one."""
    return EdgeConfig(
        camera=LEARNT, roll_record=folder / "rolls.db", roll="roll 12", article="denim 90",
        articles={"twill 220": ArticleSettings(reference=article)}, page_token_file=folder / "token",
        auto_teach=AutoTeachSettings(folder=folder / "learnt", metres=8, false_alarms_per_100m=10),
    )  # fmt: skip


def beside(config: EdgeConfig, take: Callable[[str, str], None]) -> None:
    """Inspect with a page, and take images of it meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = threading.Thread(
        target=edge.app.run.run, args=(config.changed(page=str(port), queue_frames=BUSY),)
    )
    run.start()
    token = config.page_token_file
    while token is None or not token.exists():
        time.sleep(0.1)
    time.sleep(1.0)
    take(f"http://127.0.0.1:{port}/", token.read_text().strip())
    run.join()


def taken(address: str, token: str) -> None:
    """Take the contact sheet at a desk, and a defect that is named on a phone."""
    with chromium() as browser:
        desk = browser.new_page(viewport={"width": 900, "height": 760})
        desk.goto(f"{address}#token={token}")
        until(desk, "document.querySelector('#article strong').textContent")
        desk.goto(f"{address}sheet")
        until(desk, "document.querySelectorAll('#places button').length > 4")
        for place in (0, 1):  # the two stains
            desk.locator("#places button").nth(place).click()
            until(desk, f"document.querySelectorAll('#places [aria-pressed=true]').length == {place + 1}")
        until(desk, "document.querySelector('#again code').textContent")
        save("page-sheet.png", shown(desk, "#places > *, #again", 900), PROGRAM)
        context = browser.new_context(device_scale_factor=2, viewport={"width": 360, "height": 700})
        phone = context.new_page()
        phone.goto(f"{address}#token={token}")
        card(phone, ROLL, is_planted=True).query_selector(".image").click()
        until(phone, "document.querySelector('#large').open")
        save("page-naming.png", phone.screenshot(), PROGRAM)


def taken_of_teaching(address: str, token: str) -> None:
    """Take an article that is being learnt at a desk, and the offer of another one on a phone."""
    with chromium() as browser:
        desk = browser.new_page(viewport={"width": 900, "height": 560})
        desk.goto(f"{address}#token={token}")
        until(desk, "document.querySelector('#article progress').value > 1.2")
        save("page-teaching.png", shown(desk, "main > section, .trouble", 800), PROGRAM)
        context = browser.new_context(device_scale_factor=2, viewport={"width": 360, "height": 620})
        phone = context.new_page()
        phone.goto(f"{address}#token={token}")
        until(
            phone, "document.querySelector('#troubles button') && !document.querySelector('#troubles .bad')"
        )
        save("page-known.png", shown(phone, "main > section, .trouble, #cloth", 700), PROGRAM)


if __name__ == "__main__":
    main()

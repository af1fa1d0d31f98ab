"""Take the image of a roll report: a simulated roll that stopped, lost lines and ran on, a real browser.

Run `python docs/images/roll.py` in the root of the repository. It needs playwright and Chromium.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

import edge.app.assembly
import edge.app.run
from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.cameras.protocol import Frame
from edge.config.edge import EdgeConfig
from edge.roll.cuts import PieceRequest
from edge.roll.reading import read_roll
from edge.roll.report import report_page

HERE = Path(__file__).resolve().parent
GREYS = 24
"""So few shades keep the file small."""

LOOM = "loom:seed=7,width_px=1024,length_m=9,defects_per_m=1.5,difficulties=obvious+clear"
LOST_BLOCKS = range(20, 24)


class LosingLoom(LoomCamera):
    """A simulated loom whose camera loses a stretch of lines."""

    def read(self) -> Frame | None:
        """Return the next block that was not lost."""
        while (frame := super().read()) is not None and frame.frame_id in LOST_BLOCKS:
            pass
        return frame


def main() -> None:
    """Write roll.png."""
    with TemporaryDirectory() as folder:
        page = Path(folder) / "roll.html"
        page.write_text(recorded(Path(folder)), encoding="utf-8")
        image = cv2.imdecode(np.frombuffer(taken(page), np.uint8), cv2.IMREAD_COLOR)
    step = 256 // GREYS
    _, small = cv2.imencode(".png", image // step * step, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    (HERE / "roll.png").write_bytes(small.tobytes())
    print(f"roll.png: {len(small)} bytes")


def recorded(folder: Path) -> str:
    """Inspect the roll and return its report."""
    edge.app.assembly.choose_camera = lambda *_: LosingLoom(parse_loom_options(LOOM))  # type: ignore[attr-defined]
    record = folder / "rolls.db"
    header = {"mill": "Example Mill", "customer": "Example Garments", "machine": "Loom 7", "shift": "early"}
    limits = {"first": 300.0, "second": 700.0}  # the simulated cloth is narrow and full of defects
    edge.app.run.run(
        EdgeConfig(
            camera=LOOM, roll_record=record, roll="roll 7", article="twill 220", grade_limits=limits,
            save_pictures=folder / "found", roll_header=header,
        )
    )  # fmt: skip
    return report_page(read_roll(record, "roll 7"), PieceRequest(least_m=2.0))


def taken(page: Path) -> bytes:
    """Return a screenshot of the page."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1160, "height": 1560})
        tab.goto(page.as_uri())
        time.sleep(0.2)
        return tab.screenshot()


if __name__ == "__main__":
    main()

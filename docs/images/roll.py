"""Take the image of a roll report: a simulated roll that stopped, lost lines and ran on, a real browser.

Run `python docs/images/roll.py` in the root of the repository. It needs playwright and Chromium.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from browser import chromium, save, shown

import edge.app.assembly
import edge.app.run
from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.cameras.protocol import Frame
from edge.config.edge import EdgeConfig
from edge.roll.cuts import PieceRequest
from edge.roll.reading import read_roll
from edge.roll.report import report_page

LENGTH_M = 9
LOOM = f"loom:seed=7,width_px=1024,length_m={LENGTH_M},defects_per_m=1.5,difficulties=obvious+clear"
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
        save("roll.png", taken(page), "roll.py")


def recorded(folder: Path) -> str:
    """Inspect the roll and return its report.

    Raises:
        RuntimeError: if that was interrupted.
    """
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
    roll = read_roll(record, "roll 7")
    if roll.length_m < 0.99 * LENGTH_M:
        raise RuntimeError(f"the run was interrupted after {roll.length_m:.2f} m")
    return report_page(roll, PieceRequest(least_m=2.0))


def taken(page: Path) -> bytes:
    """Return a screenshot of the page."""
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 1160, "height": 900})
        tab.goto(page.as_uri())
        return shown(tab, "body > :not(h2)", 1600)


if __name__ == "__main__":
    main()

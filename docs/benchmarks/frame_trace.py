"""Count which modules one frame of `edge-run` enters, and how often.

    python docs/benchmarks/frame_trace.py [--metres 1.5] [--defects-per-m 0]

A simulated loom runs with roll record, JSON lines, images and shadow stops. An entry is a function of one
module of `edge` that is called from a function of another one, each pair counted once; calls through a
library count for the module behind it. The frame is all that happens, in any thread, from one word to the
live view to the next. The simulated cloth itself is not counted: it stands for the loom. Printed is the
frame with the fewest entries, of those that passed all threads: what comes a few times a second (progress
of the record, a snapshot for the page) is not in it. With defects, it is one of which an image is written.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from edge.app.run import run
from edge.config.edge import EdgeConfig

BORDER = ("edge.app.live_view", "update")
"""Called once after each frame by the thread that inspects."""

WARM_UP_FRAMES = 3
EACH = {"edge.cameras.loom", "edge.inference.preparation", "edge.inference.inspector"}
WITH_IMAGE = "edge.sinks.quota"

Call = tuple[CodeType | None, CodeType]
"""The function that called, if there is one, and the function called."""


class Trace:
    """Note the entries of each frame. `profile` is for `sys.setprofile`."""

    def __init__(self) -> None:
        self._now: dict[Call, str] = {}
        self.frames: list[dict[Call, str]] = []

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """Take in one event of the interpreter."""
        module = _module_of(frame)
        if event != "call" or module is None:
            return
        caller = frame.f_back
        while caller is not None and _module_of(caller) is None:
            caller = caller.f_back
        if caller is None or _module_of(caller) != module:
            self._now[caller.f_code if caller else None, frame.f_code] = module
        if (module, frame.f_code.co_name) == BORDER:
            self.frames.append(self._now)
            self._now = {}

    def fewest(self, needed: set[str]) -> Counter[str]:
        """Return module -> entries of the frame with the fewest, of those that enter certain modules."""
        counted = [Counter(frame.values()) for frame in self.frames[WARM_UP_FRAMES:-1]]
        whole = [one for one in counted if needed <= one.keys()]
        if not whole:
            raise SystemExit("No frame passed all threads: take more --metres.")
        return min(whole, key=Counter.total)


def _module_of(frame: FrameType) -> str | None:
    name: str = frame.f_globals.get("__name__", "")
    return name if name.startswith("edge.") and not name.startswith("edge.simulator.") else None


def traced(metres: float, defects_per_m: float, folder: Path) -> Counter[str]:
    """Inspect so much cloth; returns the entries of one."""
    trace = Trace()
    config = EdgeConfig(
        camera=f"loom:seed=7,width_px=512,length_m={metres},defects_per_m={defects_per_m}",
        roll_record=folder / "roll.db",
        detections=folder / "detections.jsonl",
        save_pictures=folder / "images",
    )
    threading.setprofile(trace.profile)
    sys.setprofile(trace.profile)
    try:
        run(config)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return trace.fewest(EACH | ({WITH_IMAGE} if defects_per_m else set()))


def main() -> None:
    """Print the table, as JSON: module -> entries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metres", type=float, default=1.5, help="of cloth; a frame shows 0.045 m")
    parser.add_argument("--defects-per-m", type=float, default=0.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        entries = traced(given.metres, given.defects_per_m, Path(folder))
    print(
        json.dumps({name.removeprefix("edge."): count for name, count in entries.most_common()}, indent=1)
    )
    print(f"{len(entries)} modules, {entries.total()} entries", file=sys.stderr)


if __name__ == "__main__":
    main()

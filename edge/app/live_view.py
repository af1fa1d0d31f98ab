"""Show the progress of a run to the person at the terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from typing_extensions import Self

from edge.core.counted import counted
from edge.core.detections import DetectionRecord
from edge.pipeline.run_state import RunState
from edge.process.terminal import printable, silence

REFRESH_S = 0.25
LOG_EVERY_S = 30.0
LAST_DEFECTS = 6

SILENT_AFTER_S = 2.0
"""Below this a camera is slow; from here on a rate would be out of date: the silence is shown instead."""


class LiveView:
    """Show a line for each camera, and the last defects: a live block on a terminal, else now and then a
    line in a log. Cameras may tell it from threads of their own. A terminal that closes ends it alone: the
    run goes on to its summary.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._lines: dict[str, str] = {}
        self._last: deque[str] = deque(maxlen=LAST_DEFECTS)
        self._lock = threading.Lock()
        self._is_gone = False

    def __enter__(self) -> Self:
        if self._live:
            self._draw(self._live.start)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._draw(self._live.stop)

    def line_of(self, camera: str, prefix: str = "") -> CameraLine:
        """Return the line of one camera.

        Args:
            camera: what to call it.
            prefix: of what is said about its defects, where there are several cameras.
        """
        every_s = REFRESH_S if self._live else LOG_EVERY_S
        self._lines[camera] = f"{camera}  starting"
        return CameraLine(camera, prefix, every_s, self._show)

    def _show(self, camera: str, line: str, defects: list[str]) -> None:
        with self._lock:
            line = self._lines[camera] = printable(line)
            self._last += map(printable, defects)
            if self._live:
                lines = (Text(line, style="bold") for line in self._lines.values())
                shown = Group(*lines, *map(Text, self._last))
                self._draw(partial(self._live.update, shown, refresh=True))
            else:
                self._draw(partial(self._console.print, line, highlight=False, markup=False))

    def _draw(self, draw: Callable[[], object]) -> None:
        if self._is_gone:
            return
        try:
            draw()
        except (OSError, ValueError):
            self._is_gone = True
            silence(sys.stderr)


class CameraLine:
    """Say how one camera's run goes on.

    Args:
        camera, prefix: as of `LiveView.line_of`.
        every_s: least time between two words.
        show: takes the camera, its line, and its defects since the last word.
    """

    def __init__(
        self, camera: str, prefix: str, every_s: float, show: Callable[[str, str, list[str]], None]
    ) -> None:
        self._camera = camera
        self._prefix = prefix
        self._every_s = every_s
        self._show = show
        self._new: deque[str] = deque(maxlen=LAST_DEFECTS)
        self._shown_s = time.monotonic()
        self._shown_frames = 0

    def update(self, state: RunState, detections: list[DetectionRecord]) -> None:
        """Take in one frame, or the silence of the camera; speaks at most so often."""
        if 0 < state.silent_s < SILENT_AFTER_S:
            return
        self._remember(state, detections)
        now_s = time.monotonic()
        elapsed_s = now_s - self._shown_s
        if elapsed_s < self._every_s:
            return
        frames = state.total.frames_inspected
        frames_per_s = (frames - self._shown_frames) / elapsed_s
        self._shown_s, self._shown_frames = now_s, frames
        self._show(self._camera, self._status_line(state, frames_per_s), list(self._new))
        self._new.clear()

    def end(self, how: str) -> None:
        """Say how the run of this camera ended, while others go on."""
        self._show(self._camera, f"{self._camera}  {how}", [])

    def _remember(self, state: RunState, detections: list[DetectionRecord]) -> None:
        frame = state.last_frame
        if frame is None:
            return
        for found in detections:
            left, top, right, bottom = found["box_xyxy_px"]
            where = f"frame {frame.frame_id}, x {left:.0f}-{right:.0f} y {top:.0f}-{bottom:.0f} px"
            if frame.position is not None:
                along_m = frame.position.along_m + top * frame.position.mm_per_px_along / 1000
                edge_px = frame.position.left_selvedge_px or 0.0
                across_mm = (left - edge_px) * frame.position.mm_per_px_across
                where = f"at {along_m:.3f} m, {across_mm:.0f} mm from the left"
            self._new.append(f"  {self._prefix}{_named(found):<11} {found['score']:.2f}  {where}")

    def _status_line(self, state: RunState, frames_per_s: float) -> str:
        silence = f"no frame for {state.silent_s:.0f} s"
        if state.camera_down:
            silence = f"CAMERA DOWN ({state.camera_down}), {silence}"
        parts = [
            self._camera,
            silence if state.silent_s else f"{frames_per_s:.1f} frames/s",
            f"p50 {state.latency.quantile_ms(0.5):.1f} ms",
            f"p99 {state.latency.quantile_ms(0.99):.1f} ms",
            counted(sum(state.detections_by_class.values()), "detection"),
        ]
        if state.coverage.knows_metres:
            parts.insert(1, f"{state.coverage.metres_inspected:.2f} m")
        if state.dropped:
            parts.append(f"{state.dropped} dropped")
        return "  ".join(parts)


def _named(found: DetectionRecord) -> str:
    """Return the kind where it is known, otherwise the class."""
    return found.get("kind", found["label"])

"""What a run tells the roll record: defects, and all that happens around them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edge.cameras.capture import SILENCE_WARNING_S
from edge.cameras.health import HealthSource
from edge.cloth.defects import ClothDefect
from edge.cloth.width import Across
from edge.core.events import RecordedEvent, Reporter
from edge.core.latency import StageClock
from edge.pipeline.changes import RollWish
from edge.pipeline.run_state import RunState
from edge.roll.recorder import RollRecorder
from edge.roll.values import WIDTH_NOT_SEEN, RollHead, RollStatus

logger = logging.getLogger(__name__)

WRONG_DIRECTION = (
    "the cloth ran back beyond the place where this run began: what lies there is not counted; "
    "if it runs forward, turn the direction of the encoder round"
)


class Journal:
    """Bring defects, and what camera, optics, machine and broker have to say, into the roll record.

    Without a record they are asked all the same: time without a picture counts in the coverage.

    Args:
        state: of the run; silence and what is wrong with the camera are noted in it.
        clock: writing the record is the stage `record`.
        recorder: keeps the record; entered and left by the pipeline; None for none.
        health: tells what happened to camera and optics.
        reporters: tell what happened elsewhere.
    """

    def __init__(
        self,
        state: RunState,
        clock: StageClock,
        recorder: RollRecorder | None,
        health: Sequence[HealthSource],
        reporters: Sequence[Reporter],
    ) -> None:
        self._state = state
        self._clock = clock
        self._recorder = recorder
        self._health = health
        self._reporters = reporters
        self._silence_is_told = False
        self._direction_is_told = False
        self._began_at: int | None = None

    def frame_came(self, frame_id: int) -> None:
        """Note that the camera delivers."""
        self._ask_health()
        if self._silence_is_told:
            self._event("camera back", f"frame {frame_id}")
        self._silence_is_told = False
        self._state.silent_s = 0.0

    def silent(self, seconds: float) -> None:
        """Note that no frame has come for so long."""
        self._state.silent_s = seconds
        has_news = self._ask_health()
        is_long = seconds >= SILENCE_WARNING_S and self._state.camera_down is None
        if is_long and not self._silence_is_told:
            self._silence_is_told = has_news = True
            self._event("camera silent", f"no frame for {seconds:.0f} s")
        if self._ask_reporters() or has_news:
            self._write([])

    def line_passed(self, first_line: int) -> None:
        """Warn, once, of cloth that lies before the beginning of the run."""
        if self._began_at is None:
            self._began_at = self._state.coverage.first_line
        if first_line < self._began_at and not self._direction_is_told:
            self._direction_is_told = True
            logger.warning(WRONG_DIRECTION)
            self._event("cloth before the start", WRONG_DIRECTION)

    def record(self, defects: Sequence[ClothDefect]) -> None:
        """Record what a frame brought: defects that are complete now, in metres of the camera."""
        self._ask_reporters()
        self._write(defects)

    def tell(self, events: Sequence[RecordedEvent]) -> None:
        """Record events; their places are in metres of the camera."""
        for event in events:
            logger.info("%s: %s", event.kind, event.detail)
        if self._recorder is not None:
            self._recorder.take(events, self._state.coverage)

    def change_roll(self, head: RollHead, wish: RollWish) -> str | None:
        """Close the record of the roll, and begin that of the next.

        Returns:
            Name of the next one in the record; None without one.
        """
        if self._recorder is None:
            return None
        request_id = wish.request_id if wish.by == "command" else None
        with self._clock.stage("record"):
            state = self._state
            self._recorder.change_roll(state.coverage, state.width.mm, head, wish.by, request_id)
        return self._recorder.roll_name

    def width_seen(self, across: Across) -> None:
        """Say at the end of a roll that not all of the width of the cloth was seen."""
        width_mm, seen_mm = across.width_mm, across.seen_mm
        if width_mm is None or seen_mm is None or not across.unseen:
            return
        detail = f"{seen_mm:.0f} of {width_mm:.0f} mm of the cloth were seen; the rest is not graded"
        logger.warning("%s", detail)
        if self._recorder is not None:
            data = {"width_mm": round(width_mm, 1), "seen_width_mm": round(seen_mm, 1)}
            event = RecordedEvent(WIDTH_NOT_SEEN, detail, data=data)
            self._recorder.take([event], self._state.coverage)

    def end(self, defects: Sequence[ClothDefect]) -> None:
        """Record the last defects, and close the roll."""
        self._ask_health(is_over=True)
        error = self._state.error
        if error is not None:
            self._event("run ended by an error", str(error))
        self.record(defects)
        self._ask_reporters()
        if self._recorder is not None:
            status: RollStatus = "finished" if error is None else "failed"
            self._recorder.finish(self._state.coverage, self._state.width.mm, status)

    def _event(self, kind: str, detail: str) -> None:
        if self._recorder is not None:
            self._recorder.event(kind, detail)

    def _write(self, defects: Sequence[ClothDefect]) -> None:
        gaps = self._state.coverage.gap_list
        if self._recorder is None:
            gaps.take_changed()
        else:
            with self._clock.stage("record"):
                self._recorder.add(defects, self._state.coverage, self._state.width.mm)
        if self._recorder is None or not self._recorder.is_blocked:
            gaps.forget()

    def _ask_health(self, *, is_over: bool = False) -> bool:
        """Take what happened to the camera and its optics; True if anything did."""
        events = [event for source in self._health for event in source.take_events(is_over=is_over)]
        for event in events:
            self._state.coverage.away(event.down_s, event.frames_missed)
            self._event(event.kind, event.detail)
        self._state.camera_down = next((source.down for source in self._health if source.down), None)
        self._state.camera_counters = {
            name: count for source in self._health for name, count in source.counters.items()
        }
        return bool(events)

    def _ask_reporters(self) -> bool:
        """Take what others have to say; True if there was anything."""
        events = [event for reporter in self._reporters for event in reporter.events()]
        if events and self._recorder is not None:
            self._recorder.take(events, self._state.coverage)
        return bool(events)

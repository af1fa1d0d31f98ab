"""Let a candidate bundle inspect beside the one in use: what it would report is recorded, and no more.

Its defects stop no machine, stand in no grade and on no page. Each stretch of the roll becomes one event,
which reaches the office as every other event does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.defects import ClothDefect, cloth_from_frame
from edge.cloth.merger import DefectMerger
from edge.core.counted import counted
from edge.core.detections import Detections
from edge.core.events import RecordedEvent
from edge.inference.inspector import Inspector, PreparedImage
from edge.roll.part import RollPart

CANDIDATE_INSPECTED: Final = "candidate inspected"
"""Event of a stretch that a candidate has inspected."""

STRETCH_M: Final = 10.0
STRETCH_S: Final = 60.0
"""A stretch ends after so much cloth, or so much time."""

LATE_S: Final = 0.5
"""An older frame of a live camera is left to the bundle in use alone: the camera must not overrun."""

MOST_DEFECTS: Final = 500
"""Of a stretch that are recorded; all are counted."""


class Candidate:
    """Inspect with a candidate bundle what the bundle in use has inspected. A `Reporter`.

    Args:
        inspector: with the network of the candidate; it prepares images as the one in use does.
        class_names: of the candidate.
        bundle: id of the candidate: the first 16 digits of the sha256 of its `bundle.json`.
        may_skip: leave out frames under load, as a live camera wants it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        inspector: Inspector,
        class_names: Sequence[str],
        bundle: str,
        *,
        may_skip: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inspector = inspector
        self._class_names = tuple(class_names)
        self._may_skip = may_skip
        self._clock = clock
        self._stretch: _Stretch | None = None
        self._events: list[RecordedEvent] = []
        self.bundle = bundle

    def warm_up(self, image_hw_px: tuple[int, int], mm_per_px: float | None) -> None:
        """Run every batch size that frames of this size lead to."""
        self._inspector.warm_up(image_hw_px, mm_per_px)

    def find(self, frame: Frame, image: PreparedImage) -> Detections | None:
        """Find what is in a prepared image; None where there is no time for it, or no position is known.

        Args:
            frame: whose image it is.
            image: as the bundle in use was given it.
        """
        if frame.position is None:
            return None
        if self._may_skip and self._clock() - frame.monotonic_s > LATE_S:
            return None
        return self._inspector.find(image).defects

    def take(self, found: Detections | None, frame: Frame, roll: RollPart, shared_lines: int) -> None:
        """Account for a strip.

        Args:
            found: on cloth, in pixels of the frame; None if the candidate did not look.
            frame: the strip.
            roll: that passes.
            shared_lines: of the frame that are shown again with the next one.
        """
        position = frame.position
        if position is None:
            return
        stretch = self._stretch
        if stretch is None or stretch.roll is not roll:  # what was open belongs to a roll that has ended
            stretch = self._stretch = _Stretch(roll, position.along_m, self._clock())
        if found is None:
            stretch.skip(frame, position)
        else:
            pieces = cloth_from_frame(found, position, self._class_names) if len(found) else []
            stretch.add(pieces, frame, position, shared_lines)
        if stretch.length_m >= STRETCH_M or self._clock() - stretch.start_s >= STRETCH_S:
            self.end_stretch()

    def end_stretch(self) -> None:
        """Report what is open: the roll, or the run, ends here."""
        stretch, self._stretch = self._stretch, None
        if stretch is not None and stretch.length_m > 0:
            self._events.append(stretch.event(self.bundle))

    def events(self) -> list[RecordedEvent]:
        """Return, once, the stretches that were inspected; places are in metres of the camera."""
        events, self._events = self._events, []
        return events


class _Stretch:
    """Sum up what a candidate finds on a stretch of a roll.

    Attributes:
        length_m: cloth that passed, inspected or skipped.
    """

    def __init__(self, roll: RollPart, start_m: float, start_s: float) -> None:
        self.roll = roll
        self.start_s = start_s
        self._start_m = self._reached_m = start_m
        self._merger = DefectMerger(begins_m=start_m)
        self._found: list[ClothDefect] = []
        self._inspected_m = self._skipped_m = 0.0

    @property
    def length_m(self) -> float:
        return self._inspected_m + self._skipped_m

    def skip(self, frame: Frame, position: FramePosition) -> None:
        self._skipped_m += self._new_m(frame, position)

    def add(
        self, pieces: Sequence[ClothDefect], frame: Frame, position: FramePosition, shared_lines: int
    ) -> None:
        goes_back = position.along_m < self._reached_m - _length_m(frame, position)
        self._inspected_m += self._new_m(frame, position)
        passed_m = position.along_m
        if frame.follows_on:
            passed_m += (len(frame.image) - shared_lines) * position.mm_per_px_along / 1000
        self._found += self._merger.add(pieces, passed_m, (), goes_back)

    def _new_m(self, frame: Frame, position: FramePosition) -> float:
        """Return how much of a frame was not seen before."""
        end_m = position.along_m + _length_m(frame, position)
        new_m = max(0.0, end_m - max(self._reached_m, position.along_m))
        self._reached_m = max(self._reached_m, end_m)
        return new_m

    def event(self, bundle: str) -> RecordedEvent:
        found = [*self._found, *self._merger.finish()]
        skipped = f", {self._skipped_m:.2f} m skipped under load" if self._skipped_m else ""
        detail = f"{bundle} on {self._inspected_m:.2f} m: {counted(len(found), 'defect')}{skipped}"
        data: dict[str, Any] = {
            "bundle": bundle,
            "length_m": round(self._reached_m - self._start_m, 4),
            "inspected_m": round(self._inspected_m, 4),
            "skipped_m": round(self._skipped_m, 4),
            "count": len(found),
            "defects": [self._row(one) for one in found[:MOST_DEFECTS]],
        }
        return RecordedEvent(CANDIDATE_INSPECTED, detail, self._start_m, data=data)

    def _row(self, one: ClothDefect) -> dict[str, Any]:
        """Return a defect; its metres are counted from the start of the stretch."""
        return {
            "class_name": one.class_name,
            "score": round(one.score, 4),
            "start_m": round(one.start_m - self._start_m, 4),
            "end_m": round(one.end_m - self._start_m, 4),
            "left_mm": round(one.left_mm, 1),
            "right_mm": round(one.right_mm, 1),
        }


def _length_m(frame: Frame, position: FramePosition) -> float:
    return len(frame.image) * position.mm_per_px_along / 1000

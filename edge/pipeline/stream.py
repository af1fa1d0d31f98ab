"""Put what happens into the order of the cloth: strips, dropped frames, changes of roll, teaching."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from edge.cameras.capture import Capture
from edge.cameras.protocol import DroppedFrames, Frame
from edge.cloth.strips import Strips
from edge.pipeline.changes import RollChange, RollChanges
from edge.pipeline.teaching import TeachingInRun
from edge.teach.on_the_roll import TeachingStep

Work = Frame | list[DroppedFrames] | RollChange | TeachingStep


class Stream:
    """Yield what is to be done, in the order of the cloth.

    Args:
        capture: already entered.
        changes: tell where a roll ends.
        teaching: tells what changes before a frame; None for none.
        stop: set if somebody ended the run.
        offset_mm: see `edge.pipeline.parts.Source`.
        fit: gets ready for frames like this one; returns the height of their strips, None where frames are
            inspected as they are.
        keep: told of each frame as it comes.
    """

    def __init__(
        self,
        capture: Capture,
        changes: RollChanges,
        teaching: TeachingInRun | None,
        stop: threading.Event,
        offset_mm: float | None,
        *,
        fit: Callable[[Frame], int | None],
        keep: Callable[[Frame], None],
    ) -> None:
        self._capture = capture
        self._changes = changes
        self._teaching = teaching
        self._stop = stop
        self._offset_mm = offset_mm
        self._fit = fit
        self._keep = keep
        self._strips = Strips(0)
        self._strips_out = 0
        self._is_fitted = False

    def fit_again(self) -> None:
        """Get ready again with the next frame: another model inspects it."""
        self._is_fitted = False

    def work(self) -> Iterator[Work]:
        """Yield strips, and between them what was dropped, where the roll changes, and what the teaching of
        the article changes; an empty list where one has to wait for a frame.

        Frames are inspected as they are, those of a line camera as strips of one height.
        """
        frames = self._capture.frames()
        try:
            while True:
                if not self._capture.has_next:
                    yield []
                while not self._capture.wait():  # while the cloth stands, a roll changes at once
                    yield from self._between(None)
                frame = next(frames, None)
                if frame is None:
                    break
                yield from self._of_frame(frame)
        except Exception:
            yield from self._flush()
            yield []  # the last strip is recorded before the error is anybody's
            raise
        if not self._stop.is_set():
            yield from self._between(None)  # asked for behind the last frame
        yield from self._flush()

    def _of_frame(self, frame: Frame) -> Iterator[Work]:
        """Yield what lies before a frame, and the strips that it completes."""
        if self._offset_mm is not None:
            frame = frame.at_offset(self._offset_mm)
        yield from self._between(frame.frame_id)
        if not self._is_fitted:
            lines = self._fit(frame)
            if lines is not None:
                self._strips = Strips(lines, self._strips.last_id)
            self._is_fitted = True
        step = self._teaching.before(frame, self._strips_out) if self._teaching else None
        if step is not None:
            yield step
        self._keep(frame)
        yield from self._counted(self._strips.add(frame))

    def _between(self, frame_id: int | None) -> Iterator[Work]:
        """Yield what lies before a frame, or before any to come: frames dropped, and changes of roll."""
        while (change := self._changes.due(frame_id)) is not None:
            yield from self._flush()
            yield self._capture.take_dropped(before=change.last_frame_id + 1)
            yield change
        dropped = self._capture.take_dropped(before=frame_id) if frame_id is not None else []
        if dropped:
            yield from self._flush()
            yield dropped

    def _flush(self) -> Iterator[Frame]:
        return self._counted(self._strips.flush())

    def _counted(self, strips: list[Frame]) -> Iterator[Frame]:
        for strip in strips:
            self._strips_out += 1
            yield strip

"""Compose capture, inspection, placing on the roll and recording; the work is done elsewhere."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

from edge.cameras.capture import Capture
from edge.core.detections import DetectionRecord
from edge.core.errors import LoomsightError
from edge.pipeline.ledger import Ledger
from edge.pipeline.loop import InspectionLoop
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.run_state import RunState, unreadable_error
from edge.pipeline.strip_inspection import StripInspection
from edge.process.last_resort import internal_error, wants_traceback
from edge.roll.part import RollPart


class Pipeline:
    """Inspect what a camera delivers until it ends, a limit is reached or somebody stops it.

    Args:
        source: where frames come from.
        inspection: how they are inspected.
        results: where results go; None for nowhere but the state.
    Attributes:
        stop: ends the run with the current frame, once it is set.
        state: how far the run is.
    """

    def __init__(self, source: Source, inspection: Inspection, results: Results | None = None) -> None:
        self._source = source
        self._results = results = results or Results()
        self._teaching = teaching = inspection.teaching
        self.stop = threading.Event()
        self.state = RunState(roll=RollPart(source.terms), class_names=tuple(inspection.class_names))
        self._strips = StripInspection(inspection, self.state)
        teacher = teaching.teacher if teaching is not None else None
        own = [one for one in (results.stops, results.recording, teacher) if one is not None]
        self._ledger = Ledger(
            self.state,
            self._strips.clock,
            results,
            plan=source.plan,
            health=[*([source.camera.health] if source.camera.health else []), self._strips],
            reporters=[*own, *results.reporters],
        )
        self._loop = InspectionLoop(
            source, results, self._strips, self._ledger, teaching=teaching, state=self.state, stop=self.stop
        )

    def run(self) -> RunState:
        """Run to the end.

        Returns:
            The final state. A failure stands in its `error`: what was recorded before it stays recorded.
        """
        camera = self._source.camera
        try:
            with ExitStack() as stack:
                camera.ends_with(self.stop)
                stack.enter_context(camera)
                if self.stop.is_set():  # asked for before there was a camera: no record is set aside
                    self.state.stopped_on_request = True
                    return self.state
                self._open(stack)
                self._inspect_stream()
                self._end_teaching()
                self._ledger.end()
        except Exception as error:  # noqa: BLE001  # see `_as_ended`
            self.state.error = self.state.error or _as_ended(error)
        if self.state.error is None and self.state.unreadable and not camera.is_live:
            self.state.is_at_end = self.state.total.frames_inspected > 0
            self.state.error = unreadable_error(self.state, camera.name)
        return self.state

    def _open(self, stack: ExitStack) -> None:
        """Open what takes results: after the camera, as a missing one must not set records aside."""
        results = self._results
        for part in (
            *results.sinks,
            results.near_misses,
            results.recording,
            results.recorder,
            results.stops,
        ):
            if part is not None:
                stack.enter_context(part)
        if results.recorder is not None:  # which gave the first roll its name
            roll = self.state.roll
            roll.terms = replace(roll.terms, name=results.recorder.roll_name)
        if self._teaching is not None:
            stack.callback(self._teaching.teacher.close)

    def _inspect_stream(self) -> None:
        """Inspect until the end; what ends it early becomes the error of the state, no exception."""
        source, recording = self._source, self._results.recording
        capture = Capture(source.camera, source.queue_frames, self.stop, self._strips.clock, self._silent)
        if source.limits.seconds is not None:
            capture.end_by(time.monotonic() + source.limits.seconds)
        source.changes.attach(capture)
        try:
            with capture, self._strips:
                self._inspect_all(capture)
        except Exception as error:  # noqa: BLE001  # see `_as_ended`
            self.state.error = _as_ended(error)
        source.changes.attach(None)
        self._ledger.unreadable(capture.unreadable)
        is_at_a_limit = self.state.error is None and source.limits.are_reached(self.state)
        if not is_at_a_limit:
            self._ledger.dropped(capture.take_dropped())
        elif recording is not None:  # the roll ends where it is
            recording.ended(self._loop.lines_done)

    def _inspect_all(self, capture: Capture) -> None:
        state, limits = self.state, self._source.limits
        for records in self._loop.results(capture):
            state.waiting_frames = capture.waiting
            self._tell(records)
            self._ledger.unreadable(capture.unreadable)
            state.seconds = self._loop.seconds
            if limits.are_reached(state):
                return
        state.stopped_on_request = self.stop.is_set()

    def _end_teaching(self) -> None:
        """Publish what is being learnt; a run that somebody ends, or an error, does not wait for it."""
        if self._teaching is None:
            return
        is_over = self.stop
        if self.state.error is not None:
            is_over = threading.Event()
            is_over.set()
        self._teaching.finish(is_over, self._results.recording, self._loop.last_kept)
        self.state.teaching = None
        self.state.stopped_on_request |= self.stop.is_set()

    def _silent(self, seconds: float) -> None:
        self._ledger.silent(seconds)
        self._tell([])

    def _tell(self, records: list[DetectionRecord]) -> None:
        for observe in self._results.observers:
            observe(self.state, records)


def _as_ended(error: Exception) -> LoomsightError:
    """Return what ended a run, whatever it was: what was found before is recorded and summed up.

    Raises:
        Exception: the error itself, if nobody foresaw it and a maintainer wants to see it.
    """
    if isinstance(error, LoomsightError):
        return error
    if wants_traceback(os.environ):
        raise error
    return internal_error(error)

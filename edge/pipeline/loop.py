"""Inspect what a stream yields, in its order: strips, changes of roll, steps of the teaching."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from edge.cameras.capture import Capture
from edge.cameras.protocol import Frame
from edge.core.detections import DetectionRecord, no_detections
from edge.core.errors import ConfigError
from edge.inference.preparation import StartedStrip
from edge.pipeline.changes import RollChange
from edge.pipeline.ledger import Ledger
from edge.pipeline.parts import Results, Source
from edge.pipeline.run_state import RunState
from edge.pipeline.stream import Stream
from edge.pipeline.strip_inspection import Inspected, StripInspection
from edge.pipeline.teaching import TeachingInRun
from edge.teach.on_the_roll import TeachingStep
from edge.teach.roll_reading import StripRead

logger = logging.getLogger(__name__)


class InspectionLoop:
    """Inspect strip after strip, and account for each.

    Args:
        source, results: of the run.
        strips: inspects them, within its `with`.
        ledger: accounts for them.
        teaching: learns the article on the loom; None to disable.
        state: of the run.
        stop: set if somebody ended the run.
    Attributes:
        last_kept: the last frame that came to inspection; None before the first.
        lines_done: lines of the strips that were inspected, or dark.
    """

    def __init__(
        self,
        source: Source,
        results: Results,
        strips: StripInspection,
        ledger: Ledger,
        *,
        teaching: TeachingInRun | None,
        state: RunState,
        stop: threading.Event,
    ) -> None:
        self._source = source
        self._results = results
        self._strips = strips
        self._ledger = ledger
        self._teaching = teaching
        self._state = state
        self._stop = stop
        self._start_s: float | None = None
        self._free_since_s = 0.0
        self.last_kept: Frame | None = None
        self.lines_done = 0

    @property
    def seconds(self) -> float:
        """Since the first strip was started; 0 before."""
        return 0.0 if self._start_s is None else time.monotonic() - self._start_s

    def results(self, capture: Capture) -> Iterator[list[DetectionRecord]]:
        """Inspect in order; yields what was found on each strip, and nothing while there is none.

        The next strip, if it is there, is prepared while the network has this one.
        """
        offset_mm, changes = self._source.offset_mm, self._source.changes
        stream = Stream(
            capture, changes, self._teaching, self._stop, offset_mm, fit=self._fit, keep=self._keep
        )
        started: StartedStrip | None = None
        for work in stream.work():
            following = self._begin(work, started) if isinstance(work, Frame) else None
            if started is not None:
                yield self._finish(started)
            started = following
            if isinstance(work, RollChange):
                self._change_roll(work, stream)
            elif isinstance(work, TeachingStep):
                self._teach(work)
            elif not isinstance(work, Frame):
                self._ledger.dropped(work)
            elif following is None:
                self.lines_done += len(work.image)
                self._ledger.dark(work)
                yield []
        if started is not None:
            yield self._finish(started)
        self._strips.end_roll()

    def _fit(self, frame: Frame) -> int | None:
        """Get ready for frames like the first one, of the run or of a model; see `StripInspection.fit`."""
        if frame.position is None:
            self._check_needs_no_position()
        start_s = time.monotonic()
        lines = self._strips.fit(frame)
        if self._state.cold_start_ms is None:
            self._state.cold_start_ms = (time.monotonic() - start_s) * 1000
        return lines

    def _check_needs_no_position(self) -> None:
        """Refuse what needs positions.

        Raises:
            ConfigError: if metres limit the run, or the machine is to be stopped.
        """
        name, stops = self._source.camera.name, self._results.stops
        if self._source.limits.metres is not None:
            raise ConfigError(
                f"The camera {name} knows no position, so metres cannot limit the run.",
                "Use --frames or --seconds; for a video or a folder, --mm-per-px also helps.",
            )
        if stops is not None and stops.mode == "on":
            raise ConfigError(
                f"The camera {name} knows no position: nothing can be confirmed.",
                "Leave --stop at shadow; for a video or a folder, --mm-per-px also helps.",
            )

    def _keep(self, frame: Frame) -> None:
        self.last_kept = frame
        if self._results.recording is not None:
            with self._strips.clock.stage("keep frame"):
                self._results.recording.add(frame)

    def _begin(self, strip: Frame, before: StartedStrip | None) -> StartedStrip | None:
        if self._start_s is None:
            self._start_s = time.monotonic()
        return self._strips.begin(strip, before)

    def _finish(self, started: StartedStrip) -> list[DetectionRecord]:
        """Inspect a strip and record it; one without any cloth is accounted for and nothing more."""
        frame, prepared = started.strip, started.coming.result()
        self.lines_done += len(frame.image)
        start_s = time.monotonic()
        seen = self._strips.inspect(started)
        if seen is None:
            self._ledger.inspected(frame, no_detections(), [], prepared.cloth_lines)
            self._read(started, None)
            logger.debug("frame %d: no cloth", frame.frame_id)
            return []
        self._write(frame, seen)
        end_s = time.monotonic()
        plan = self._ledger.inspected(
            frame,
            seen.found,
            seen.records,
            prepared.cloth_lines,
            shared_lines=self._strips.shared_lines,
            joint_row=prepared.joint_row,
            cloth_columns=prepared.cloth_columns,
        )
        if plan is not None:  # a roll began at a joint
            if plan.inspector is not None:
                self._strips.use(plan.inspector, plan.reference)
            self._strips.begin_roll()
        self._read(started, seen)
        seconds = prepared.seconds + end_s - start_s
        self._count_time(started, seconds, end_s)
        logger.debug("frame %d: %d found, %.1f ms", frame.frame_id, len(seen.records), seconds * 1000)
        return seen.records

    def _write(self, frame: Frame, seen: Inspected) -> None:
        with self._strips.clock.stage("write"):
            for sink in self._results.sinks:
                sink.write(frame, seen.records)
            if self._results.near_misses is not None and seen.near_misses and not seen.records:
                self._results.near_misses.write(frame, seen.near_misses)

    def _count_time(self, started: StartedStrip, seconds: float, end_s: float) -> None:
        """Count what a strip took; what two strips took together keeps the device busy once."""
        self._state.latency.add(seconds * 1000)
        self._state.age.add((end_s - started.strip.monotonic_s) * 1000)
        self._state.busy_seconds += end_s - max(started.taken_s, self._free_since_s)
        self._free_since_s = end_s

    def _change_roll(self, change: RollChange, stream: Stream) -> None:
        """Go over to the next roll. Whatever was started belongs to the one before, and is done."""
        self._strips.end_roll()
        plan = self._ledger.change_roll(change.request)
        if self._results.recording is not None:
            self._results.recording.changed(change.recorded(knows=plan.knows))
        if plan.inspector is not None:
            self._strips.use(plan.inspector, plan.reference)
            stream.fit_again()
        if plan.class_names:
            self._strips.set_margin(plan.selvedge_margin_mm)
        if self._teaching is not None:
            coverage = self._state.coverage
            at_m = coverage.first_line * coverage.m_per_line
            self._teaching.new_cloth(is_other=plan.article_changes, at_m=at_m)
        if plan.article_changes:
            self._strips.begin_article()
        self._strips.begin_roll()

    def _teach(self, step: TeachingStep) -> None:
        """Take a step of the teaching; whatever was started is done."""
        if self._teaching is None:
            return
        learnt = self._teaching.take(step, self._stop, self._results.recording)
        self._state.teaching = self._teaching.teacher.now
        if learnt is not None:
            self._strips.use(learnt.inspector, learnt.reference)

    def _read(self, started: StartedStrip, seen: Inspected | None) -> None:
        """Let the teaching read a strip that was inspected."""
        if self._teaching is None:
            return
        frame, weak = started.strip, seen.weak if seen is not None else None
        scale_mm = self._strips.scale_of(frame)
        self._teaching.read(
            StripRead(
                started.number,
                frame,
                started.coming.result(),
                no_detections() if weak is None else weak,
                scale_mm,
            )
        )
        self._state.teaching = self._teaching.teacher.now

"""Capture -> inspect -> place on the roll -> record: composed here, done elsewhere."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from edge.cameras.capture import Capture
from edge.cameras.health import HealthSource
from edge.cameras.protocol import Camera, DroppedFrames, Frame
from edge.cameras.recovering import RecoveringCamera
from edge.cloth.defects import on_cloth
from edge.cloth.fusion import fuse
from edge.cloth.in_frame import one_each
from edge.cloth.joints import JointFinder
from edge.cloth.mask import within
from edge.cloth.optics import OpticsWatch
from edge.cloth.strips import Seam, Strips, on_own_lines
from edge.cloth.watch import ClothWatch
from edge.core.detections import UNCLASSIFIED, DetectionRecord, Detections, no_detections
from edge.core.errors import ConfigError, LoomsightError
from edge.core.events import Reporter
from edge.core.image import Image
from edge.decisions.stops import Stops
from edge.inference.inspector import Finding, Inspector
from edge.inference.preparation import BegunStrip, Preparation, PreparedStrip
from edge.pipeline.changes import RollChange, RollChanges
from edge.pipeline.journal import Journal
from edge.pipeline.ledger import Ledger, Planner, same_cloth
from edge.pipeline.run_state import Limits, Observer, RunState, unreadable_error
from edge.pipeline.teaching import TeachingInRun
from edge.process.last_resort import internal_error, wants_traceback
from edge.reference.second_look import Looker
from edge.reference.watch import Recognise, ReferenceWatch, knows_none
from edge.roll.part import RollPart
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollTerms
from edge.sinks.protocol import Sink
from edge.sinks.raw_stream import Recording
from edge.teach.on_the_roll import TeachingStep

logger = logging.getLogger(__name__)

Work = Frame | list[DroppedFrames] | RollChange | TeachingStep


class Pipeline:
    """Inspect what a camera delivers until it ends, a limit is reached or somebody stops it.

    Args:
        camera: not yet entered; it is released whatever happens.
        inspector: finds defects in a frame.
        class_names: of the inspector's contract.
        sinks: take the result of each frame, in this order; not yet entered.
        limits: when to end by itself.
        queue_frames: frames that may wait between capture and inspection.
        selvedge_margin_mm: nearer to a selvedge that is known, or to an edge of the cloth that is found,
            nothing is reported.
        cloth: says where in a picture is cloth; None to take every picture as cloth throughout.
        observe: called after each frame, and now and then, without detections, while the camera is silent.
        recorder: keeps the roll record; None for none.
        stops: decides about stopping the machine, where a position is known; None to decide nothing.
        reporters: asked after each frame, and while the camera is silent, for events to record.
        health: tells what happened to the camera, for the record; asked after every frame.
        optics: watches lamp and lens; None for nobody.
        recording: keeps the frames as they come to inspection; not yet entered; None for none.
        near_misses: takes frames without a defect that nearly had one; None for nobody.
        offset_mm: from the left selvedge to the left edge of the camera's view; None if that is not known.
        terms: of the first roll.
        changes: where the next roll is asked for.
        plan: says how the next roll is inspected.
        joints: finds joints between two pieces of cloth, where a roll ends; None for nobody.
        reference: looks beside the detector for what does not belong into the cloth; None for nobody.
        teaching: learns the article on the loom; None for nobody.
        recognise: names the article, other than that of the roll, that cloth looks like.
    """

    def __init__(
        self,
        camera: Camera,
        inspector: Inspector,
        class_names: Sequence[str],
        *,
        sinks: Sequence[Sink] = (),
        limits: Limits | None = None,
        queue_frames: int = 4,
        selvedge_margin_mm: float = 0.0,
        cloth: ClothWatch | None = None,
        observe: Observer | None = None,
        recorder: RollRecorder | None = None,
        stops: Stops | None = None,
        reporters: Sequence[Reporter] = (),
        health: Sequence[HealthSource] = (),
        optics: OpticsWatch | None = None,
        recording: Recording | None = None,
        near_misses: Sink | None = None,
        offset_mm: float | None = None,
        terms: RollTerms | None = None,
        changes: RollChanges | None = None,
        plan: Planner = same_cloth,
        joints: JointFinder | None = None,
        reference: Looker | None = None,
        teaching: TeachingInRun | None = None,
        recognise: Recognise = knows_none,
    ) -> None:
        self._camera = camera
        self._inspector = inspector
        self._sinks = sinks
        self._limits = limits or Limits()
        self._queue_frames = queue_frames
        self._selvedge_margin_mm = selvedge_margin_mm
        self._observe = observe
        self._recorder = recorder
        self._stops = stops
        self._optics = optics
        self._recording = recording
        self._near_misses = near_misses
        self._offset_mm = offset_mm
        self._changes = changes or RollChanges()
        self._joints = joints
        self._preparation = Preparation(inspector, cloth, joints, reference)
        self._reference_watch = ReferenceWatch(recognise)
        self._reference_watch.begin_anew(reference.usual if reference else None)
        self._teaching = teaching
        self._strips = Strips(0)
        self._strips_begun = 0
        self._is_fitted = False
        self._last_kept: Frame | None = None
        self._begin_s: float | None = None
        self._free_since_s = 0.0
        self._lines_done = 0
        self.stop = threading.Event()
        self.state = RunState(roll=RollPart(terms or RollTerms()), class_names=tuple(class_names))
        self._journal = Journal(
            self.state,
            inspector.clock,
            recorder,
            [*health, *([optics] if optics else []), self._reference_watch],
            [one for one in (stops, recording, teaching) if one is not None] + [*reporters],
        )
        self._ledger = Ledger(self.state, self._journal, stops, recording, plan)

    def run(self) -> RunState:
        """Run to the end.

        Returns:
            The final state. A failure stands in its `error`: what was recorded before it stays recorded.
        """
        try:
            with ExitStack() as stack:
                if isinstance(self._camera, RecoveringCamera):
                    self._camera.ends_with(self.stop)
                stack.enter_context(self._camera)
                if self.stop.is_set():  # asked for before there was a camera: no record is set aside
                    self.state.stopped_on_request = True
                    return self.state
                for sink in self._sinks:  # after the camera: a missing one must not set records aside
                    stack.enter_context(sink)
                for part in (self._near_misses, self._recording, self._recorder, self._stops):
                    if part is not None:
                        stack.enter_context(part)
                self._name_roll()
                if self._teaching is not None:
                    stack.callback(self._teaching.close)
                self._inspect_stream()
                self._end_teaching()
                self._ledger.end()
        except Exception as error:  # noqa: BLE001  # see `_as_ended`
            self.state.error = self.state.error or _as_ended(error)
        if self.state.error is None and self.state.unreadable and not self._camera.is_live:
            self.state.error = unreadable_error(self.state, self._camera.name)
        return self.state

    def _inspect_stream(self) -> None:
        """Inspect until the end; what ends it early becomes the error of the state, no exception."""
        capture = Capture(self._camera, self._queue_frames, self.stop, self._inspector.clock, self._silent)
        if self._limits.seconds is not None:
            capture.end_by(time.monotonic() + self._limits.seconds)
        self._changes.attach(capture)
        try:
            with capture:
                self._inspect_all(capture)
        except Exception as error:  # noqa: BLE001  # see `_as_ended`
            self.state.error = _as_ended(error)
        self._changes.attach(None)
        self._ledger.unreadable(capture.unreadable)
        is_at_a_limit = self.state.error is None and self._limits.are_reached(self.state)
        if not is_at_a_limit:
            self._ledger.dropped(capture.take_dropped())
        elif self._recording is not None:  # the roll ends where it is
            self._recording.ended(self._lines_done)

    def _name_roll(self) -> None:
        """Take in the name that the first roll has in the record."""
        if self._recorder is not None:
            roll = self.state.roll
            roll.terms = replace(roll.terms, name=self._recorder.roll_name)

    def _inspect_all(self, capture: Capture) -> None:
        with self._preparation:
            for records in self._results(capture):
                self.state.waiting_frames = capture.waiting
                self._tell(records)
                self._ledger.unreadable(capture.unreadable)
                self.state.seconds = time.monotonic() - (self._begin_s or time.monotonic())
                if self._limits.are_reached(self.state):
                    return
        self.state.stopped_on_request = self.stop.is_set()

    def _results(self, capture: Capture) -> Iterator[list[DetectionRecord]]:
        """Inspect in order. The next strip, if it is there, is prepared while the network has this one."""
        begun: BegunStrip | None = None
        for work in self._work(capture):
            self._strips_begun += isinstance(work, Frame)
            following = self._begin(work, begun) if isinstance(work, Frame) else None
            if begun is not None:
                yield self._finish(begun)
            begun = following
            if isinstance(work, RollChange):
                self._change_roll(work)
            elif isinstance(work, TeachingStep):
                self._teach(work)
            elif not isinstance(work, Frame):
                self._ledger.dropped(work)
            elif following is None:
                self._lines_done += len(work.image)
                self._ledger.dark(work)
                yield []
        if begun is not None:
            yield self._finish(begun)

    def _work(self, capture: Capture) -> Iterator[Work]:
        """Yield strips, and between them what was dropped, where the roll changes, and what the teaching of
        the article changes; an empty list where one has to wait for a frame.

        Frames are inspected as they are, those of a line camera as strips of one height.
        """
        frames = capture.frames()
        try:
            while True:
                if not capture.has_next:
                    yield []
                while not capture.wait():  # while the cloth stands, a roll changes at once
                    yield from self._between(capture, None)
                frame = next(frames, None)
                if frame is None:
                    break
                if self._offset_mm is not None:
                    frame = frame.at_offset(self._offset_mm)
                yield from self._between(capture, frame.frame_id)
                if not self._is_fitted:
                    self._start(frame)
                step = self._teaching.before(frame, self._strips_begun) if self._teaching else None
                if step is not None:
                    yield step
                self._keep(frame)
                yield from self._strips.add(frame)
        except Exception:
            yield from self._strips.flush()
            yield []  # the last strip is recorded before the error is anybody's
            raise
        if not self.stop.is_set():
            yield from self._between(capture, None)  # asked for behind the last frame
        yield from self._strips.flush()

    def _between(
        self, capture: Capture, frame_id: int | None
    ) -> Iterator[Frame | list[DroppedFrames] | RollChange]:
        """Yield what lies before a frame, or before any to come: frames dropped, and changes of roll."""
        while (change := self._changes.due(frame_id)) is not None:
            yield from self._strips.flush()
            yield capture.take_dropped(before=change.last_frame_id + 1)
            yield change
        dropped = capture.take_dropped(before=frame_id) if frame_id is not None else []
        if dropped:
            yield from self._strips.flush()
            yield dropped

    def _change_roll(self, change: RollChange) -> None:
        """Go over to the next roll. Whatever was begun belongs to the one before, and is done."""
        plan = self._ledger.change_roll(change.wish)
        if self._recording is not None:
            self._recording.changed(change.recorded(knows=plan.knows))
        if plan.inspector is not None:
            self._look_with(plan.inspector, plan.reference)
            self._is_fitted = False
        if plan.class_names:
            self._selvedge_margin_mm = plan.selvedge_margin_mm
        if self._teaching is not None:
            coverage = self.state.coverage
            at_m = coverage.first_line * coverage.m_per_line
            self._teaching.new_cloth(is_other=plan.article_changes, at_m=at_m)
        if plan.article_changes:
            for watch in (self._optics, self._joints):
                if watch is not None:
                    watch.begin_anew()

    def _teach(self, step: TeachingStep) -> None:
        """Take a step of the teaching; whatever was begun is done."""
        if self._teaching is None:
            return
        learnt = self._teaching.take(step, self.stop, self._recording)
        self.state.teaching = self._teaching.now
        if learnt is not None:
            self._look_with(learnt.inspector, learnt.reference)

    def _look_with(self, inspector: Inspector, reference: Looker | None) -> None:
        """Inspect what is prepared from here on with other thresholds, and another reference."""
        self._inspector = self._preparation.inspector = inspector
        self._preparation.reference = reference
        self._reference_watch.begin_anew(reference.usual if reference else None)
        self.state.cloth_troubles, self.state.recognised = (), None

    def _end_teaching(self) -> None:
        """Publish what is being learnt; a run that somebody ends, or an error, does not wait for it."""
        if self._teaching is None:
            return
        if self.state.error is None and not self.state.stopped_on_request:
            self.stop.clear()  # the end of the capture set it; from here on somebody does
        self._teaching.finish(self.stop, self._recording, self._last_kept)
        self.state.teaching = None

    def _read(self, begun: BegunStrip, finding: Finding | None) -> None:
        """Let the teaching read a strip that was inspected."""
        if self._teaching is None:
            return
        frame, weak = begun.strip, no_detections() if finding is None else finding.weak
        scale_mm = self._inspector.scale_of(frame.mm_per_px_across)
        self._teaching.add(begun.number, frame, begun.coming.result(), weak, scale_mm)
        self.state.teaching = self._teaching.now

    def _keep(self, frame: Frame) -> None:
        self._last_kept = frame
        if self._recording is not None:
            with self._inspector.clock.stage("keep frame"):
                self._recording.add(frame)

    def _silent(self, seconds: float) -> None:
        self._journal.silent(seconds)
        self._tell([])

    def _tell(self, records: list[DetectionRecord]) -> None:
        if self._observe is not None:
            self._observe(self.state, records)

    def _start(self, frame: Frame) -> None:
        """Get ready for frames like the first one, of the run or of a model."""
        if self._limits.metres is not None and frame.position is None:
            raise ConfigError(
                f"The camera {self._camera.name} knows no position, so metres cannot limit the run.",
                "Use --frames or --seconds; for a video or a folder, --mm-per-px also helps.",
            )
        if self._stops is not None and self._stops.mode == "on" and frame.position is None:
            raise ConfigError(
                f"The camera {self._camera.name} knows no position: nothing can be confirmed.",
                "Leave --stop at shadow; for a video or a folder, --mm-per-px also helps.",
            )
        begin_s = time.monotonic()
        height, width = frame.image.shape[:2]
        if frame.follows_on and frame.position is not None:
            lines = self._inspector.strip_lines(frame.mm_per_px_across)
            self._strips = Strips(lines, self._strips.last_id)
            height = self._strips.lines or height
        self._inspector.warm_up((height, width), frame.mm_per_px_across)
        if frame.follows_on:
            seam = Seam(self._inspector.shared_lines(frame.mm_per_px_across))
            self._preparation.seam = seam
            self._inspector.warm_up((height + seam.lines, width), frame.mm_per_px_across)
        self._is_fitted = True
        if self.state.cold_start_ms is None:
            self.state.cold_start_ms = (time.monotonic() - begin_s) * 1000

    def _begin(self, strip: Frame, before: BegunStrip | None) -> BegunStrip | None:
        """Begin to prepare a strip; None for one without light."""
        now_s = time.monotonic()
        self._begin_s = self._begin_s or now_s
        if before is not None:
            self._watch_optics(before)
        if self._is_dark(strip.image):
            return None
        return BegunStrip(strip, self._preparation.begin(strip), now_s, self._strips_begun)

    def _watch_optics(self, begun: BegunStrip) -> None:
        """Look at the optics of a strip, once and in order, if there is cloth on all of its lines."""
        if self._optics is None or begun.is_watched or not begun.coming.result().is_all_cloth:
            return
        with self._inspector.clock.stage("optics"):
            self._optics.look(begun.strip.image)
        begun.is_watched = True

    def _finish(self, begun: BegunStrip) -> list[DetectionRecord]:
        """Inspect a strip and record it; one without any cloth is accounted for and nothing more."""
        frame, prepared = begun.strip, begun.coming.result()
        self._lines_done += len(frame.image)
        begin_s = time.monotonic()
        if prepared.picture is None:
            self._ledger.inspected(frame, no_detections(), [], prepared.cloth_lines)
            self._read(begun, None)
            logger.debug("frame %d: no cloth", frame.frame_id)
            return []
        self._watch_optics(begun)
        finding = self._inspector.find(prepared.picture)
        on_mask = self._on_mask(finding.defects, prepared, frame)
        self.state.detections_off_cloth += len(finding.defects) - len(on_mask)
        height, width = frame.image.shape[:2]
        on_mask = one_each(on_mask, (height + prepared.carried_lines, width))
        found = self._with_regions(self._between_selvedges(on_mask, prepared, frame), prepared)
        records = on_own_lines(found).records(self.state.class_names)
        with self._inspector.clock.stage("write"):
            for sink in self._sinks:
                sink.write(frame, records)
            if self._near_misses is not None and not records:
                near = self._on_mask(finding.near_misses, prepared, frame)
                near = on_own_lines(self._between_selvedges(near, prepared, frame))
                self._near_misses.write(frame, near.records(self.state.class_names))
        end_s = time.monotonic()
        plan = self._ledger.inspected(
            frame,
            found,
            records,
            prepared.cloth_lines,
            shared_lines=self._preparation.seam.lines,
            joint_row=prepared.joint_row,
            cloth_columns=prepared.cloth_columns,
        )
        if plan is not None and plan.inspector is not None:
            self._look_with(plan.inspector, plan.reference)
        self._read(begun, finding)
        seconds = prepared.seconds + end_s - begin_s
        self._count_time(begun, seconds, end_s)
        logger.debug("frame %d: %d found, %.1f ms", frame.frame_id, len(found), seconds * 1000)
        return records

    def _count_time(self, begun: BegunStrip, seconds: float, end_s: float) -> None:
        """Count what a strip took; what two strips took together keeps the box busy once."""
        self.state.latency.add(seconds * 1000)
        self.state.age.add((end_s - begun.strip.monotonic_s) * 1000)
        self.state.busy_seconds += end_s - max(begun.taken_s, self._free_since_s)
        self._free_since_s = end_s

    def _is_dark(self, image: Image) -> bool:
        if self._optics is None:
            return False
        with self._inspector.clock.stage("optics"):
            return self._optics.is_dark(image)

    def _on_mask(self, found: Detections, prepared: PreparedStrip, frame: Frame) -> Detections:
        """Leave out what lies mostly off the cloth, or along its edge."""
        scale = self._inspector.scale_of(frame.mm_per_px_across)
        return within(found, prepared.mask, self._selvedge_margin_mm / scale if scale else 0.0)

    def _with_regions(self, found: Detections, prepared: PreparedStrip) -> Detections:
        """Merge what the detector found, in pixels of the frame, with what the reference model did."""
        look = prepared.look
        self._reference_watch.look(look)
        self.state.cloth_troubles = self._reference_watch.troubles
        self.state.recognised = self._reference_watch.recognised
        if look is None or not len(look.regions):
            return found
        up = np.array([0, prepared.carried_lines] * 2, np.float32)
        regions = replace(look.regions, boxes_xyxy_px=look.regions.boxes_xyxy_px - up)
        return fuse(found, regions, self.state.class_names.index(UNCLASSIFIED))

    def _between_selvedges(self, found: Detections, prepared: PreparedStrip, frame: Frame) -> Detections:
        """Bring detections to pixels of their frame, and leave out those beyond known selvedges."""
        in_frame = found.moved(0, -prepared.carried_lines)
        return on_cloth(in_frame, frame.position, self._selvedge_margin_mm)


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

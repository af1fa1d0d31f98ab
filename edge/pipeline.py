"""Capture -> inspect -> record, composed and nothing else: the one place where the order of all stands."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from edge.cameras.health import FaultKind, HealthSource
from edge.cameras.protocol import Camera, Frame, FramePosition
from edge.capture import SILENCE_WARNING_S, Capture, DroppedFrames
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect, DefectMerger, cloth_from_frame, on_cloth
from edge.cloth.gaps import Gap
from edge.cloth.mask import ClothMask, Mask
from edge.cloth.optics import OpticsWatch
from edge.cloth.seams import Seam, on_own_lines
from edge.cloth.strips import Strips
from edge.cloth.watch import ClothWatch
from edge.cloth.width import ClothWidth
from edge.decisions.stops import Stops
from edge.detections import DetectionRecord, Detections, no_detections
from edge.errors import ConfigError, ImageError, LoomsightError
from edge.inspector import Inspector
from edge.latency import LatencyHistogram
from edge.preparation import Preparation, PreparedStrip
from edge.roll.recorder import RollRecorder
from edge.roll.values import RecordedEvent, RollStatus
from edge.sinks.protocol import Sink

logger = logging.getLogger(__name__)

LEAST_ON_CLOTH = 0.5
"""A detection with less of its box on cloth, without the margin along its edge, is left out. A cut end and
the shadow beside it look like a wrinkle all across the cloth."""


WRONG_DIRECTION = (
    "the cloth ran back beyond the place where this run began: what lies there is not counted; "
    "if it runs forward, turn the direction of the encoder round"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """End a run after that much; None for no limit."""

    frames: int | None = None
    seconds: float | None = None
    metres: float | None = None


@dataclass(slots=True)
class RunState:
    """Say how far a run is. The live view reads it; the summary is made of it.

    Attributes:
        latency: of preparing a frame, and then from the network to its record, per frame. Waiting for the
            frame before does not count.
        age: from the end of a frame's capture to its record, per frame: what a machine stop waits for.
        defects: defects of the roll that are complete, for cameras that know their position.
        detections_by_class: boxes per class over all frames.
        detections_off_cloth: boxes left out because they lie mostly off the cloth or along its edge.
        silent_s: seconds since the last frame came, while none comes; 0 as soon as there is one.
        camera_down: what is wrong with the camera at the moment; None if nothing is.
        error: what ended the run before its end.
    """

    coverage: Coverage = field(default_factory=Coverage)
    width: ClothWidth = field(default_factory=ClothWidth)
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    age: LatencyHistogram = field(default_factory=LatencyHistogram)
    defects: list[ClothDefect] = field(default_factory=list)
    detections_by_class: dict[str, int] = field(default_factory=dict)
    detections_off_cloth: int = 0
    dropped: int = 0
    unreadable: int = 0
    seconds: float = 0.0
    busy_seconds: float = 0.0
    frame_size_hw_px: tuple[int, int] | None = None
    cold_start_ms: float | None = None
    last_frame: Frame | None = None
    silent_s: float = 0.0
    camera_down: FaultKind | None = None
    stopped_on_request: bool = False
    error: LoomsightError | None = None


Observer = Callable[[RunState, list[DetectionRecord]], None]


class Reporter(Protocol):
    """Something beside inspection that has events for the record: the machine, the broker."""

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call; places are in metres of the camera."""
        ...


@dataclass(slots=True)
class _BegunStrip:
    """A strip that is being prepared.

    Attributes:
        taken_s: `time.monotonic()` when it was begun.
        is_watched: whether the optics were looked at.
    """

    strip: Frame
    coming: Future[PreparedStrip]
    taken_s: float
    is_watched: bool = False


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
    ) -> None:
        self._camera = camera
        self._inspector = inspector
        self._class_names = tuple(class_names)
        self._sinks = sinks
        self._limits = limits or Limits()
        self._queue_frames = queue_frames
        self._selvedge_margin_mm = selvedge_margin_mm
        self._observe = observe
        self._recorder = recorder
        self._stops = stops
        self._reporters = [*([stops] if stops else []), *reporters]
        self._health: tuple[HealthSource, ...] = (*health, *([optics] if optics else []))
        self._optics = optics
        self._was_silent = False
        self._merger = DefectMerger()
        self._preparation = Preparation(inspector, cloth)
        self._strips = Strips(0)
        self._begin_s: float | None = None
        self._free_since_s = 0.0
        self._last_line = 0
        self._warned_of_direction = False
        self.stop = threading.Event()
        self.state = RunState()

    def run(self) -> RunState:
        """Run to the end.

        Returns:
            The final state. A failure stands in its `error`: what was recorded before it stays recorded.
        """
        try:
            with ExitStack() as stack:
                stack.enter_context(self._camera)
                for sink in self._sinks:  # after the camera: a missing one must not set records aside
                    stack.enter_context(sink)
                if self._recorder is not None:
                    stack.enter_context(self._recorder)
                if self._stops is not None:
                    stack.enter_context(self._stops)
                self._inspect_stream()
                self._end_roll()
        except LoomsightError as error:
            self.state.error = self.state.error or error
        if self.state.error is None and self.state.unreadable:
            self.state.error = self._unreadable_error()
        return self.state

    def _inspect_stream(self) -> None:
        """Inspect until the end; what ends it early becomes the error of the state, no exception."""
        capture = Capture(self._camera, self._queue_frames, self.stop, self._inspector.clock, self._silent)
        if self._limits.seconds is not None:
            capture.end_by(time.monotonic() + self._limits.seconds)
        try:
            with capture:
                self._inspect_all(capture)
        except LoomsightError as error:
            self.state.error = error
        self._count_unreadable(capture)
        if self.state.error is not None or not self._limit_reached():  # a limit ends the roll where it is
            self._account_dropped(capture.take_dropped())

    def _end_roll(self) -> None:
        """Complete what is open, and close the record of the roll."""
        last = self._merger.finish()
        self.state.defects += last
        self._note_health(is_over=True)
        if self._stops is not None:
            self._stops.settle()
        if self._recorder is None:
            return
        error = self.state.error
        if error is not None:
            self._recorder.event("run ended by an error", str(error))
        self._record(last)
        self._take_reports()
        status: RollStatus = "failed" if error is not None else "finished"
        self._recorder.finish(self.state.coverage, self.state.width.mm, status)

    def _record(self, defects: Sequence[ClothDefect]) -> None:
        self._take_reports()
        if self._recorder is not None:
            with self._inspector.clock.stage("record"):
                self._recorder.add(defects, self.state.coverage, self.state.width.mm)

    def _inspect_all(self, capture: Capture) -> None:
        with self._preparation:
            for records in self._results(capture):
                self._tell(records)
                self._count_unreadable(capture)
                self.state.seconds = time.monotonic() - (self._begin_s or time.monotonic())
                if self._limit_reached():
                    return
        self.state.stopped_on_request = self.stop.is_set()

    def _results(self, capture: Capture) -> Iterator[list[DetectionRecord]]:
        """Inspect in order. The next strip, if it is there, is prepared while the network has this one."""
        begun: _BegunStrip | None = None
        for work in self._work(capture):
            following = self._begin(work, begun) if isinstance(work, Frame) else None
            if begun is not None:
                yield self._finish(begun)
            begun = following
            if not isinstance(work, Frame):
                self._account_dropped(work)
            elif following is None:
                yield self._account_dark(work)
        if begun is not None:
            yield self._finish(begun)

    def _work(self, capture: Capture) -> Iterator[Frame | list[DroppedFrames]]:
        """Yield strips and what was dropped between them; an empty list where one has to wait for a frame.

        Frames are inspected as they are, those of a line camera as strips of one height.
        """
        is_first, frames = True, capture.frames()
        try:
            while True:
                if not capture.has_next:
                    yield []
                frame = next(frames, None)
                if frame is None:
                    break
                if is_first:
                    self._start(frame)
                    is_first = False
                dropped = capture.take_dropped(before=frame)
                if dropped:
                    yield from self._strips.flush()
                    yield dropped
                yield from self._strips.add(frame)
        except LoomsightError:
            yield from self._strips.flush()
            yield []  # the last strip is recorded before the error is anybody's
            raise
        yield from self._strips.flush()

    def _account_dropped(self, dropped: Sequence[DroppedFrames]) -> None:
        coverage = self.state.coverage
        for item in dropped:
            coverage.frames_dropped += item.frames
            if item.position is not None:
                coverage.missed(item.position, item.lines, "overrun", item.missing_before)
        self.state.dropped = coverage.frames_dropped

    def _note_health(self, *, is_over: bool = False) -> bool:
        """Record what happened to the camera and its optics; True if anything did."""
        events = [event for source in self._health for event in source.take_events(is_over=is_over)]
        for event in events:
            self.state.coverage.away(event.down_s, event.frames_missed)
            if self._recorder is not None:
                self._recorder.event(event.kind, event.detail)
        self.state.camera_down = next((source.down for source in self._health if source.down), None)
        return bool(events)

    def _silent(self, seconds: float) -> None:
        self.state.silent_s = seconds
        if self._note_health():
            self._record([])
        is_news = seconds >= SILENCE_WARNING_S and not self._was_silent and self.state.camera_down is None
        if is_news and self._recorder is not None:
            self._was_silent = True
            self._recorder.event("camera silent", f"no frame for {seconds:.0f} s")
            self._record([])
        if self._take_reports():
            self._record([])
        self._tell([])

    def _take_reports(self) -> bool:
        """Hand what others have to say to the recorder; True if there was anything."""
        events = [event for reporter in self._reporters for event in reporter.events()]
        if events and self._recorder is not None:
            self._recorder.take(events, self.state.coverage)
        return bool(events)

    def _tell(self, records: list[DetectionRecord]) -> None:
        if self._observe is not None:
            self._observe(self.state, records)

    def _start(self, frame: Frame) -> None:
        """Get ready for frames like the first one."""
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
            self._strips = Strips(self._inspector.strip_lines(frame.mm_per_px_across))
            height = self._strips.lines or height
        self._inspector.warm_up((height, width), frame.mm_per_px_across)
        if frame.follows_on:
            seam = Seam(self._inspector.shared_lines(frame.mm_per_px_across))
            self._preparation.seam = seam
            self._inspector.warm_up((height + seam.lines, width), frame.mm_per_px_across)
        self.state.cold_start_ms = (time.monotonic() - begin_s) * 1000

    def _begin(self, strip: Frame, before: _BegunStrip | None) -> _BegunStrip | None:
        """Begin to prepare a strip; None for one without light."""
        now_s = time.monotonic()
        self._begin_s = self._begin_s or now_s
        if self._optics is not None:
            if before is not None:
                self._watch_optics(before)
            if self._optics.is_dark(strip.image):
                return None
        return _BegunStrip(strip, self._preparation.begin(strip), now_s)

    def _watch_optics(self, begun: _BegunStrip) -> None:
        """Look at the optics of a strip, once and in order, if there is cloth on all of its lines."""
        if self._optics is None or begun.is_watched or not begun.coming.result().is_all_cloth:
            return
        with self._inspector.clock.stage("optics"):
            self._optics.look(begun.strip.image)
        begun.is_watched = True

    def _finish(self, begun: _BegunStrip) -> list[DetectionRecord]:
        """Inspect a strip and record it; one without any cloth is accounted for and nothing more."""
        frame, prepared = begun.strip, begun.coming.result()
        begin_s = time.monotonic()
        if prepared.picture is None:
            self._account(frame, no_detections(), [], prepared.cloth_lines)
            logger.debug("frame %d: no cloth", frame.frame_id)
            return []
        self._watch_optics(begun)
        everywhere = self._inspector.find(prepared.picture)
        on_mask = self._on_mask(everywhere, prepared.mask, frame).moved(0, -prepared.carried_lines)
        found = on_cloth(on_mask, frame.position, self._selvedge_margin_mm)
        records = on_own_lines(found).records(self._class_names)
        with self._inspector.clock.stage("write"):
            for sink in self._sinks:
                sink.write(frame, records)
        end_s = time.monotonic()
        self._account(frame, found, records, prepared.cloth_lines)
        self._count_time(begun, prepared.seconds + end_s - begin_s, end_s)
        logger.debug("frame %d: %d found", frame.frame_id, len(found))
        return records

    def _count_time(self, begun: _BegunStrip, seconds: float, end_s: float) -> None:
        """Count what a strip took; what two strips took together keeps the box busy once."""
        self.state.latency.add(seconds * 1000)
        self.state.age.add((end_s - begun.strip.monotonic_s) * 1000)
        self.state.busy_seconds += end_s - max(begun.taken_s, self._free_since_s)
        self._free_since_s = end_s

    def _account_dark(self, frame: Frame) -> list[DetectionRecord]:
        """Account for a frame without light."""
        self._note_health()
        self.state.coverage.dark(frame)
        self._record([])
        self.state.last_frame, self.state.silent_s = frame, 0.0
        return []

    def _on_mask(self, found: Detections, mask: ClothMask | None, frame: Frame) -> Detections:
        """Leave out and count what lies mostly off the cloth, or along its edge."""
        if mask is None or not len(found):
            return found
        mm_per_px = self._inspector.scale_of(frame.mm_per_px_across)
        inner = mask.without_edge(self._selvedge_margin_mm / mm_per_px) if mm_per_px else mask
        kept = found.take(inner.share_in(found.boxes_xyxy_px) >= LEAST_ON_CLOTH)
        self.state.detections_off_cloth += len(found) - len(kept)
        return kept

    def _account(
        self, frame: Frame, found: Detections, records: list[DetectionRecord], cloth_lines: Mask | None
    ) -> None:
        state = self.state
        self._note_health()
        if self._was_silent and self._recorder is not None:
            self._recorder.event("camera back", f"frame {frame.frame_id}")
        self._was_silent = False
        filled = state.coverage.passed(frame, cloth_lines)
        state.last_frame = frame
        state.silent_s = 0.0
        state.frame_size_hw_px = frame.image.shape[:2]
        for record in records:
            label = record["label"]
            state.detections_by_class[label] = state.detections_by_class.get(label, 0) + 1
        if frame.position is None:
            self._record([])
        else:
            state.width.add(frame.position)
            self._place(found, frame, frame.position, filled)

    def _place(self, found: Detections, frame: Frame, position: FramePosition, filled: list[Gap]) -> None:
        """Put what was found on the roll."""
        m_per_line, coverage = position.mm_per_px_along / 1000, self.state.coverage
        pieces = cloth_from_frame(found, position, self._class_names, frame.frame_id)
        passed_m = position.along_m
        if frame.follows_on:  # of other frames, the next one may overlap this one
            passed_m += (len(frame.image) - self._preparation.seam.lines) * m_per_line
        goes_back = position.first_line < self._last_line
        self._last_line = position.first_line
        self._check_direction(position.first_line)
        filled_m = [(gap.start * coverage.m_per_line, gap.end * coverage.m_per_line) for gap in filled]
        complete = self._merger.add(pieces, passed_m, filled_m, goes_back)
        if self._stops is not None:  # before the record: the machine does not wait for the disk
            defects = [*complete, *self._merger.growing]
            self._stops.placed(position.along_m, frame.monotonic_s, pieces, defects)
        self._record(complete)
        self.state.defects += complete

    def _check_direction(self, first_line: int) -> None:
        if first_line < self.state.coverage.first_line and not self._warned_of_direction:
            self._warned_of_direction = True
            logger.warning(WRONG_DIRECTION)
            if self._recorder is not None:
                self._recorder.event("cloth before the start", WRONG_DIRECTION)

    def _count_unreadable(self, capture: Capture) -> None:
        self.state.unreadable = self.state.coverage.frames_unreadable = capture.unreadable

    def _unreadable_error(self) -> ImageError:
        coverage, unreadable = self.state.coverage, self.state.unreadable
        readable = coverage.frames_inspected + coverage.frames_without_cloth
        return ImageError(
            f"{unreadable} of {unreadable + readable} pictures of {self._camera.name} could not be read; "
            "the others were inspected.",
            "Replace or remove the files named above.",
        )

    def _limit_reached(self) -> bool:
        limits, state = self._limits, self.state
        return (
            (limits.frames is not None and state.coverage.frames_inspected >= limits.frames)
            or (limits.seconds is not None and state.seconds >= limits.seconds)
            or (limits.metres is not None and state.coverage.metres_inspected >= limits.metres)
        )

"""Hold how far a run is, tell when it ends by itself, and copy it for other threads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge.cameras.health import FaultKind
from edge.cameras.protocol import Frame
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.cloth.found import DefectsFound
from edge.cloth.sums import CoverageSums
from edge.cloth.width import Across, ClothWidth
from edge.core.counted import of_all
from edge.core.detections import DetectionRecord
from edge.core.errors import ImageError, LoomsightError
from edge.core.latency import LatencyHistogram
from edge.roll.part import EndedRoll, RollPart
from edge.roll.values import RollTerms
from edge.teach.values import TeachingNow

MOST_ROLLS = 1000
"""Rolls of a run that are kept for its summary; the roll record has them all."""

SNAPSHOT_S = 0.25
"""A snapshot costs a tenth of a millisecond; so often a person sees numbers change."""


@dataclass(slots=True)
class RunState:
    """Say how far a run is. The live view reads it; the summary is made of it.

    Attributes:
        latency: of preparing a frame, and then from the network to its record, per frame. Waiting for the
            frame before does not count.
        age: from the end of a frame's capture to its record, per frame: what a machine stop waits for.
        roll: the one that passes now.
        found: defects of all rolls that are complete, for cameras that know their position.
        rolls: that ended, the last of them; `rolls_ended` counts all.
        class_names: of the model that holds now.
        detections_by_class: boxes per class over all frames.
        detections_off_cloth: boxes left out because they lie mostly off the cloth or along its edge.
        silent_s: seconds since the last frame came, while none comes; 0 as soon as there is one.
        waiting_frames: frames in the queue between capture and inspection.
        camera_down: what is wrong with the camera at the moment; None if nothing is.
        cloth_troubles: what is wrong with the cloth, or with what was taught of it, at the moment.
        optics_troubles: what is wrong with lamp or lens at the moment.
        recognised: article that was taught and the cloth looks like, while it is not the one of the roll.
        teaching: how far the teaching of the article on the loom is; None while it is not taught.
        camera_counters: what a live camera has counted since the start of the run.
        is_at_end: the camera has no more frames, and all that could be read are inspected.
        error: what ended the run before its end; at its end that some images could not be read.
    """

    roll: RollPart = field(default_factory=RollPart)
    found: DefectsFound = field(default_factory=DefectsFound)
    rolls: deque[EndedRoll] = field(default_factory=lambda: deque(maxlen=MOST_ROLLS))
    rolls_ended: int = 0
    class_names: tuple[str, ...] = ()
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    age: LatencyHistogram = field(default_factory=LatencyHistogram)
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
    waiting_frames: int = 0
    camera_down: FaultKind | None = None
    cloth_troubles: tuple[str, ...] = ()
    optics_troubles: tuple[str, ...] = ()
    recognised: str | None = None
    teaching: TeachingNow | None = None
    camera_counters: dict[str, int] = field(default_factory=dict)
    stopped_on_request: bool = False
    is_at_end: bool = False
    error: LoomsightError | None = None
    _folded_before: int = 0
    _last_snapshot: RunSnapshot | None = None

    def snapshot(self, now_s: float | None = None) -> RunSnapshot:
        """Return how the run stands, for other threads. Called by the thread that inspects.

        Args:
            now_s: `time.monotonic()`; the last snapshot will do if it is younger than `SNAPSHOT_S`. None: a
                new one is taken.
        """
        last = self._last_snapshot
        if last is None or now_s is None or now_s - last.taken_s >= SNAPSHOT_S:
            last = self._last_snapshot = self._taken(time.monotonic() if now_s is None else now_s)
        return last

    def _taken(self, now_s: float) -> RunSnapshot:
        roll, coverage = self.roll, self.roll.coverage
        sums = coverage.sums()
        return RunSnapshot(
            now_s,
            roll.before + sums,
            sums,
            roll.terms,
            roll.number,
            self.rolls_ended,
            dict(self.found.by_class),
            len(roll.defects),
            dict(self.detections_by_class),
            self.dropped,
            self.unreadable,
            coverage.reached_line * coverage.m_per_line,
            self._along_m(),
            roll.across,
            self.latency.copy(),
            self.age.copy(),
            self.silent_s,
            self.waiting_frames,
            self.camera_down,
            self.camera_counters,
            self.cloth_troubles,
            self.optics_troubles,
            self.recognised,
            self.teaching,
            self.is_at_end,
            str(self.error) if self.error else None,
        )

    def _along_m(self) -> float:
        """Return the place of the last line that was looked at; 0 if it is not known."""
        frame = self.last_frame
        if frame is None or frame.position is None:
            return 0.0
        return frame.position.along_m + len(frame.image) * frame.position.mm_per_px_along / 1000

    @property
    def coverage(self) -> Coverage:
        """Of the roll that passes now."""
        return self.roll.coverage

    @property
    def width(self) -> ClothWidth:
        """Of the cloth of that roll."""
        return self.roll.width

    @property
    def defects(self) -> DefectsFound:
        """Complete defects of that roll."""
        return self.roll.defects

    @property
    def total(self) -> CoverageSums:
        """Sums of all rolls of this run."""
        roll = self.roll  # one look: another thread may ask
        return roll.before + roll.coverage.sums()

    def take(self, complete: list[ClothDefect]) -> None:
        """Count complete defects, on their roll and in the run."""
        self.roll.take(complete)
        self.found += complete

    def end_roll(self, following: RollPart) -> None:
        """Put another roll in the place of the one that passes now."""
        self.rolls.append(self.roll.ended())
        self.rolls_ended += 1
        self._folded_before = self.folded
        self.roll = following

    @property
    def folded(self) -> int:
        """Defects that are not reported, as they came again and again at the same ends of the warp."""
        return self._folded_before + self.roll.merger.recurring.folded


Observer = Callable[[RunState, list[DetectionRecord]], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """End a run after that much; None for no limit."""

    frames: int | None = None
    seconds: float | None = None
    metres: float | None = None

    def are_reached(self, state: RunState) -> bool:
        """Tell whether a run has come to one of them."""
        return (
            (self.frames is not None and state.total.frames_inspected >= self.frames)
            or (self.seconds is not None and state.seconds >= self.seconds)
            or (self.metres is not None and state.total.metres_inspected >= self.metres)
        )


def unreadable_error(state: RunState, camera: str) -> ImageError:
    """Return the error of a run that ended well but for images that could not be read."""
    total, unreadable = state.total, state.unreadable
    readable = total.frames_inspected + total.frames_without_cloth
    count = of_all(unreadable, unreadable + readable, "image") if readable else "No image"
    could = "could not be read; the others were inspected" if readable else "could be read"
    problem = f"{count} of {camera} {could}."
    return ImageError(problem, "Replace or remove those that the messages of the run name.")


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """Copy how a run stands at a moment; nothing in it changes. See `RunState`.

    Attributes:
        taken_s: `time.monotonic()`.
        total: sums of all rolls of this run; `roll`: of the one that passes.
        terms: of that roll; `roll_number`: of it in this run, from 1.
        defects_by_class: complete ones, of all rolls.
        roll_defects: complete ones of the roll that passes.
        reached_m: how far the roll has come, in metres from its first line.
        along_m: place of the last line that was looked at, in metres of the camera; 0 if not known.
        across: how much of the width of the cloth is seen.
    """

    taken_s: float
    total: CoverageSums
    roll: CoverageSums
    terms: RollTerms
    roll_number: int
    rolls_ended: int
    defects_by_class: Mapping[str, int]
    roll_defects: int
    detections_by_class: Mapping[str, int]
    dropped: int
    unreadable: int
    reached_m: float
    along_m: float
    across: Across
    latency: LatencyHistogram
    age: LatencyHistogram
    silent_s: float
    waiting_frames: int
    camera_down: FaultKind | None
    camera_counters: Mapping[str, int]
    cloth_troubles: tuple[str, ...]
    optics_troubles: tuple[str, ...]
    recognised: str | None
    teaching: TeachingNow | None
    is_at_end: bool
    error: str | None

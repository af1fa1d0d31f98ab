"""Read clean cloth from a camera as a run would: same capture, strips, cloth mask and preparation."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from edge.cameras.capture import Capture
from edge.cameras.protocol import Camera, Frame
from edge.cloth.defects import on_cloth
from edge.cloth.finder import ClothWatch
from edge.cloth.mask import within
from edge.cloth.strips import Seam, Strips, on_own_lines
from edge.config.alarm_budget import ClothAmount
from edge.core.detections import Detections
from edge.core.errors import ConfigError
from edge.core.image import Image
from edge.inference.inspector import Inspector
from edge.inference.preparation import Preparation, PreparedStrip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CleanStrip:
    """Hold one strip of cloth as it was inspected.

    Attributes:
        frame: with its own lines.
        image: with the lines of the strip before that were put above.
        carried_lines: how many.
        prepared: with the cloth mask.
        found: all that the detector sees on the cloth, however weak, in pixels of the frame.
        amount: cloth that it adds to the strips before.
    """

    frame: Frame
    image: Image
    carried_lines: int
    prepared: PreparedStrip
    found: Detections
    amount: ClothAmount


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """End after that much; None for the end of the source."""

    metres: float | None = None
    frames: int | None = None


class ClothReading:
    """Read clean cloth.

    Args:
        camera: not yet entered.
        inspector: of the detector, with thresholds so low that its tail is seen.
        cloth: says where in an image is cloth; None to take every image as cloth throughout.
        margin_mm: nearer to a selvedge, or to an edge of the cloth, nothing is looked at.
        limits: when to end.
        queue_frames: frames that may wait.
        offset_mm: see `EdgeConfig`.

    Attributes:
        left_out: reason -> images that were not looked at.
        stop: ends the reading.
    """

    def __init__(
        self,
        camera: Camera,
        inspector: Inspector,
        cloth: ClothWatch | None,
        *,
        margin_mm: float,
        limits: ReadingLimits,
        queue_frames: int = 4,
        offset_mm: float | None = None,
    ) -> None:
        self._camera = camera
        self._inspector = inspector
        self._margin_mm = margin_mm
        self._limits = limits
        self._queue_frames = queue_frames
        self._offset_mm = offset_mm
        self._preparation = Preparation(inspector, cloth)
        self._size: tuple[int, ...] | None = None
        self._meter = ClothMeter()
        self.left_out: Counter[str] = Counter()
        self.stop = threading.Event()

    def strips(self) -> Iterator[CleanStrip]:
        """Yield what shows cloth, until a limit or the end of the source.

        Raises:
            ConfigError: if metres limit it and the camera knows no position.
            LoomsightError: what the camera raises.
        """
        with self._camera, self._preparation:
            capture = Capture(self._camera, self._queue_frames, self.stop, self._inspector.clock)
            with capture:
                for frame, coming in self._prepared(capture):
                    strip = self._look(frame, coming.result())
                    if strip is not None:
                        yield strip
                    if self._is_enough():
                        break
            self._count("cannot be read", capture.unreadable)
            self._count("not fetched in time", capture.dropped)

    def leave_out(self, reason: str) -> None:
        """Count an image that turned out to show nothing to learn from."""
        self._count(reason, 1)

    def _prepared(self, capture: Capture) -> Iterator[tuple[Frame, Future[PreparedStrip]]]:
        """Yield strips; the next one is prepared while the detector has this one."""
        started: tuple[Frame, Future[PreparedStrip]] | None = None
        for frame in self._pieces(capture):
            self._size = self._size or frame.image.shape[1:]
            if frame.image.shape[1:] != self._size:
                self._count("of another width or colour", 1)
                continue
            following = (frame, self._preparation.begin(frame))
            if started is not None:
                yield started
            started = following
        if started is not None:
            yield started

    def _pieces(self, capture: Capture) -> Iterator[Frame]:
        strips: Strips | None = None
        for captured in capture.frames():
            frame = captured if self._offset_mm is None else captured.at_offset(self._offset_mm)
            if strips is None:
                strips = self._start(frame)
            yield from strips.add(frame)
        yield from strips.flush() if strips is not None else []

    def _start(self, frame: Frame) -> Strips:
        if self._limits.metres is not None and frame.position is None:
            raise ConfigError(
                f"The camera {self._camera.name} knows no position, so metres cannot limit the teaching.",
                "Use --frames; for a video or a folder, --mm-per-px also helps.",
            )
        lines = self._inspector.strip_lines(frame.mm_per_px_across)
        if frame.follows_on:
            self._preparation.seam = Seam(self._inspector.shared_lines(frame.mm_per_px_across))
        return Strips(lines if frame.position is not None else 0)

    def _look(self, frame: Frame, prepared: PreparedStrip) -> CleanStrip | None:
        if prepared.prepared_image is None or prepared.image is None:
            self._count("without cloth", 1)
            return None
        found = self._inspector.find(prepared.prepared_image).defects
        amount = self._meter.add(frame, prepared)
        scale = self._inspector.scale_of(frame.mm_per_px_across)
        kept = kept_on_cloth(found, prepared, frame, self._margin_mm, scale)
        return CleanStrip(frame, prepared.image, prepared.carried_lines, prepared, kept, amount)

    def _is_enough(self) -> bool:
        limits, amount = self._limits, self._meter.amount
        return (limits.frames is not None and amount.images >= limits.frames) or (
            limits.metres is not None and amount.metres >= limits.metres - 1e-9
        )

    def _count(self, reason: str, images: int) -> None:
        if images:
            self.left_out[reason] += images


def kept_on_cloth(
    found: Detections, prepared: PreparedStrip, frame: Frame, margin_mm: float, mm_per_px: float | None
) -> Detections:
    """Leave out what a run leaves out: what lies off the cloth, along its edge, or on earlier lines.

    Args:
        found: in pixels of the prepared image.
        margin_mm: nearer to a selvedge, or to an edge of the cloth, nothing is looked at.
        mm_per_px: that the frame is taken to have.
    """
    inner = within(found, prepared.mask, margin_mm / mm_per_px if mm_per_px else 0.0)
    in_frame = inner.moved(0, -prepared.carried_lines)
    return on_own_lines(on_cloth(in_frame, frame.position, margin_mm))


class ClothMeter:
    """Measure cloth that is looked at; frames of an area camera may overlap.

    Attributes:
        amount: all of it.
    """

    def __init__(self) -> None:
        self.amount = ClothAmount(0)
        self._end_m: float | None = None

    def add(self, frame: Frame, prepared: PreparedStrip) -> ClothAmount:
        """Add a strip; returns the cloth that it adds to those before."""
        amount = self._amount_of(frame, prepared)
        self.amount += amount
        return amount

    def _amount_of(self, frame: Frame, prepared: PreparedStrip) -> ClothAmount:
        if frame.position is None:
            return ClothAmount(1)
        start_m = frame.position.along_m
        end_m = start_m + len(frame.image) * frame.position.mm_per_px_along / 1000
        before_m = start_m if self._end_m is None else max(start_m, min(self._end_m, end_m))
        self._end_m = end_m if self._end_m is None else max(self._end_m, end_m)
        metres = end_m - before_m
        return ClothAmount(1, metres, metres * _cloth_width_m(frame, prepared))


def _cloth_width_m(frame: Frame, prepared: PreparedStrip) -> float:
    position = frame.position
    if position is None:
        return 0.0
    left_px, right_px = prepared.cloth_columns or (0.0, float(frame.image.shape[1]))
    if position.left_selvedge_px is not None:
        left_px = max(left_px, position.left_selvedge_px)
    if position.right_selvedge_px is not None:
        right_px = min(right_px, position.right_selvedge_px)
    return max(0.0, right_px - left_px) * position.mm_per_px_across / 1000

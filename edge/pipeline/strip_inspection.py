"""Find the defects of one strip after the other: prepared in a thread, inspected, left where cloth is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from typing_extensions import Self

from edge.cameras.health import FaultKind, HealthEvent
from edge.cameras.protocol import Frame
from edge.cloth.defects import on_cloth
from edge.cloth.fusion import fuse
from edge.cloth.in_frame import one_each
from edge.cloth.kinds import kinds_in_image
from edge.cloth.mask import within
from edge.cloth.strips import Seam, on_own_lines
from edge.core.detections import UNCLASSIFIED, DetectionRecord, Detections
from edge.core.image import Image
from edge.core.latency import StageClock
from edge.inference.inspector import Inspector
from edge.inference.preparation import Preparation, PreparedStrip, StartedStrip
from edge.pipeline.parts import Inspection
from edge.pipeline.run_state import RunState
from edge.process.supervised import OptionalWork
from edge.reference.second_look import Looker
from edge.reference.watch import ReferenceWatch


@dataclass(frozen=True, slots=True)
class Inspected:
    """Hold what was found on a strip.

    Attributes:
        found: in pixels of the strip; on lines carried over from the one before, rows are negative.
        records: the same on its own lines, as it is written.
        near_misses: what nearly was a defect, where nothing is.
        weak: all that the detector sees, in pixels of the prepared image; None if that is not wanted.
    """

    found: Detections
    records: list[DetectionRecord]
    near_misses: list[DetectionRecord]
    weak: Detections | None


class StripInspection:
    """Inspect strips in their order, within a `with`. The next one may be started while one is inspected.

    A `HealthSource` of lamp, lens and cloth.

    Args:
        how: strips are inspected, at first.
        state: of the run; what is left out and what is wrong with the cloth is noted in it.
    """

    down: FaultKind | None = None
    counters: Mapping[str, int] = MappingProxyType({})

    def __init__(self, how: Inspection, state: RunState) -> None:
        self._inspector = how.inspector
        self._optics = how.optics
        self._joints = how.joints
        self._margin_mm = how.selvedge_margin_mm
        self._state = state
        self._preparation = Preparation(how.inspector, how.cloth, how.joints, how.reference)
        self._strips_started = 0
        self._naming_kinds = OptionalWork("kinds of defects")
        self._events: list[HealthEvent] = []
        self._reference_watch = ReferenceWatch(how.recognise)
        self._reference_watch.start_again(how.reference.usual if how.reference else None)
        self._candidate_of_roll = how.candidate_of_roll
        self._candidate = how.candidate_of_roll()
        self._trying = OptionalWork("the candidate bundle")

    def __enter__(self) -> Self:
        self._preparation.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._preparation.__exit__(*error)

    @property
    def clock(self) -> StageClock:
        """Counts how long each stage takes."""
        return self._inspector.clock

    @property
    def shared_lines(self) -> int:
        """Lines of a strip that are shown again with the one that follows on."""
        return self._preparation.seam.lines

    def take_events(self, *, is_over: bool = False) -> list[HealthEvent]:
        """Return, once, what changed in optics and cloth."""
        events, self._events = self._events, []
        return [*(self._optics.take_events() if self._optics is not None else ()), *events]

    def fit(self, frame: Frame) -> int | None:
        """Get ready for frames like this one.

        Returns:
            Height of the strips that they are cut into; None where they are inspected as they are.
        """
        height, width = frame.image.shape[:2]
        mm_per_px, lines = frame.mm_per_px_across, None
        if frame.follows_on and frame.position is not None:
            lines = self._inspector.strip_lines(mm_per_px)
            height = lines or height
        self._inspector.warm_up((height, width), mm_per_px)
        if frame.follows_on:
            seam = Seam(self._inspector.shared_lines(mm_per_px))
            self._preparation.seam = seam
            self._inspector.warm_up((height + seam.lines, width), mm_per_px)
        return lines

    def use(self, inspector: Inspector, reference: Looker | None) -> None:
        """Inspect what is prepared from here on with other thresholds, and another reference."""
        self._inspector = self._preparation.inspector = inspector
        self._preparation.reference = reference
        self._reference_watch.start_again(reference.usual if reference else None)
        self._state.cloth_troubles, self._state.recognised = (), None

    def begin_article(self) -> None:
        """Look at the cloth as at one never seen before."""
        for watch in (self._optics, self._joints):
            if watch is not None:
                watch.start_again()
        self._state.optics_troubles = ()

    def end_roll(self) -> None:
        """Let the candidate report what it found on the roll that ends."""
        if self._candidate is not None:
            self._candidate.end_stretch()

    def begin_roll(self) -> None:
        """Take the candidate of the roll that begins."""
        self._candidate = self._candidate_of_roll()

    def set_margin(self, selvedge_margin_mm: float) -> None:
        """Report nothing nearer to a selvedge from here on."""
        self._margin_mm = selvedge_margin_mm

    def begin(self, strip: Frame, before: StartedStrip | None) -> StartedStrip | None:
        """Begin to prepare a strip; None for one without light.

        Args:
            before: the strip that is not inspected yet, if there is one.
        """
        now_s = time.monotonic()
        self._strips_started += 1
        if before is not None:
            self._watch_optics(before)
        if self._is_dark(strip.image):
            return None
        return StartedStrip(strip, self._preparation.begin(strip), now_s, self._strips_started)

    def inspect(self, started: StartedStrip) -> Inspected | None:
        """Inspect a strip; None for one without any cloth."""
        frame, prepared = started.strip, started.coming.result()
        if prepared.prepared_image is None:
            return None
        self._watch_optics(started)
        finding = self._inspector.find(prepared.prepared_image)
        self._try_candidate(prepared, frame)
        found, near, names = finding.defects, finding.near_misses, self._state.class_names
        if len(found):
            found = self._placed(found, prepared, frame)
        found = self._with_regions(found, prepared)
        if len(found):
            found = self._with_kinds(found, prepared, frame)
        records = on_own_lines(found).records(names) if len(found) else []
        nearly = self._near_misses(near, prepared, frame) if len(near) else []
        return Inspected(found, records, nearly, finding.weak)

    def _try_candidate(self, prepared: PreparedStrip, frame: Frame) -> None:
        """Let the candidate look at what the network has seen; nothing it finds is reported as a defect."""
        candidate, image = self._candidate, prepared.prepared_image
        if candidate is None or image is None:
            return
        with self._trying, self.clock.stage("candidate"):
            found = candidate.find(frame, image)
            if found is not None and len(found):
                found = self._on_cloth(found, prepared, frame)[0]
            candidate.take(found, frame, self._state.roll, self.shared_lines)

    def scale_of(self, frame: Frame) -> float | None:
        """Return the millimetres per pixel that a frame is taken to have."""
        return self._inspector.scale_of(frame.mm_per_px_across)

    def _placed(self, found: Detections, prepared: PreparedStrip, frame: Frame) -> Detections:
        """Keep what lies on cloth, one report a defect, in pixels of the frame; count the others."""
        kept, off_cloth = self._on_cloth(found, prepared, frame)
        self._state.detections_off_cloth += off_cloth
        return kept

    def _on_cloth(self, found: Detections, prepared: PreparedStrip, frame: Frame) -> tuple[Detections, int]:
        """Return what lies on cloth, one report a defect, in pixels of the frame, and how many do not."""
        on_mask = self._on_mask(found, prepared, frame)
        off_cloth = len(found) - len(on_mask)
        height, width = frame.image.shape[:2]
        on_mask = one_each(on_mask, (height + prepared.carried_lines, width))
        return self._between_selvedges(on_mask, prepared, frame), off_cloth

    def _near_misses(
        self, near: Detections, prepared: PreparedStrip, frame: Frame
    ) -> list[DetectionRecord]:
        near = self._between_selvedges(self._on_mask(near, prepared, frame), prepared, frame)
        return on_own_lines(near).records(self._state.class_names)

    def _on_mask(self, found: Detections, prepared: PreparedStrip, frame: Frame) -> Detections:
        """Leave out what lies mostly off the cloth, or along its edge."""
        scale = self.scale_of(frame)
        return within(found, prepared.mask, self._margin_mm / scale if scale else 0.0)

    def _between_selvedges(self, found: Detections, prepared: PreparedStrip, frame: Frame) -> Detections:
        """Bring detections to pixels of their frame, and leave out those beyond known selvedges."""
        in_frame = found.moved(0, -prepared.carried_lines)
        return on_cloth(in_frame, frame.position, self._margin_mm)

    def _with_regions(self, found: Detections, prepared: PreparedStrip) -> Detections:
        """Merge what the detector found, in pixels of the frame, with what the reference model did."""
        look = prepared.look
        if look is None:
            return found
        self._reference_watch.look(look)
        self._events += self._reference_watch.take_events()
        self._state.cloth_troubles = self._reference_watch.troubles
        self._state.recognised = self._reference_watch.recognised
        if not len(look.regions):
            return found
        up = np.array([0, prepared.carried_lines] * 2, np.float32)
        regions = replace(look.regions, boxes_xyxy_px=look.regions.boxes_xyxy_px - up)
        return fuse(found, regions, self._state.class_names.index(UNCLASSIFIED))

    def _with_kinds(self, found: Detections, prepared: PreparedStrip, frame: Frame) -> Detections:
        """Say of which kind is what was found, in pixels of the frame; nothing where no scale is known."""
        image, scale = prepared.image, self.scale_of(frame)
        if image is None or scale is None:
            return found
        position = frame.position
        scales = (
            (scale, scale) if position is None else (position.mm_per_px_across, position.mm_per_px_along)
        )
        in_image = found.moved(0, prepared.carried_lines)
        with self._naming_kinds, self.clock.stage("kind"):
            appearances, kinds = kinds_in_image(in_image, image, self._state.class_names, scales)
            found = replace(found, appearances=appearances, kinds=kinds)
        return found

    def _watch_optics(self, started: StartedStrip) -> None:
        """Look at the optics of a strip, once and in order, if there is cloth on all of its lines."""
        if self._optics is None or started.is_watched or not started.coming.result().is_all_cloth:
            return
        with self.clock.stage("optics"):
            self._optics.look(started.strip.image)
        self._state.optics_troubles = self._optics.troubles
        started.is_watched = True

    def _is_dark(self, image: Image) -> bool:
        if self._optics is None:
            return False
        with self.clock.stage("optics"):
            is_dark = self._optics.is_dark(image)
        self._state.optics_troubles = self._optics.troubles
        return is_dark

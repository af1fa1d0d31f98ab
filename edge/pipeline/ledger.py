"""Account for each frame of a run, roll by roll: coverage, defects, stops and the record are one act."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edge.cameras.capture import SILENCE_WARNING_S
from edge.cameras.health import HealthSource
from edge.cameras.protocol import DroppedFrames, Frame
from edge.cloth.defects import ClothDefect, cloth_from_frame
from edge.cloth.mask import Mask
from edge.cloth.width import Across
from edge.core.detections import DetectionRecord, Detections
from edge.core.events import RecordedEvent, Reporter
from edge.core.latency import StageClock
from edge.pipeline.changes import RollPlan, RollRequest
from edge.pipeline.parts import Planner, Results, same_cloth
from edge.pipeline.run_state import RunState
from edge.roll.part import parts_of_frame, recurrence_event
from edge.roll.values import WIDTH_NOT_SEEN, RollStatus

logger = logging.getLogger(__name__)

WRONG_DIRECTION = (
    "the cloth ran back beyond the place where this run began: what lies there is not counted; "
    "if it runs forward, turn the direction of the encoder round"
)


class Ledger:
    """Account for what passed, in the order of the cloth, and bring it into the roll record.

    Without a record, camera, optics, machine and broker are asked all the same: time without an image
    counts in the coverage.

    Args:
        state: of the run.
        clock: writing the record is the stage `record`.
        results: where results go.
        plan: says how the next roll is inspected; asked when it begins.
        health: tells what happened to camera and optics.
        reporters: tell what happened elsewhere.
    """

    def __init__(
        self,
        state: RunState,
        clock: StageClock,
        results: Results | None = None,
        *,
        plan: Planner = same_cloth,
        health: Sequence[HealthSource] = (),
        reporters: Sequence[Reporter] = (),
    ) -> None:
        results = results or Results()
        self._state = state
        self._clock = clock
        self._recorder = results.recorder
        self._stops = results.stops
        self._recording = results.recording
        self._audit = results.audit
        self._plan = plan
        self._health = health
        self._reporters = reporters
        self._silence_is_told = False
        self._direction_is_told = False
        self._began_at: int | None = None

    def unreadable(self, total: int) -> None:
        """Count the images of the run that could not be read."""
        if total != self._state.unreadable:
            self._state.unreadable = total
            self._state.roll.count_unreadable(total)

    def dropped(self, dropped: Sequence[DroppedFrames]) -> None:
        """Account for frames that the queue dropped."""
        coverage = self._state.coverage
        for item in dropped:
            if self._recording is not None:
                self._recording.missed(item)
            coverage.frames_dropped += item.frames
            self._state.dropped += item.frames
            if item.position is not None:
                coverage.missed(item.position, item.lines, "overrun", item.missing_before)

    def dark(self, frame: Frame) -> None:
        """Account for a frame without light."""
        self._frame_came(frame.frame_id)
        self._state.coverage.dark(frame)
        self._state.last_frame = frame
        self._record([])

    def inspected(
        self,
        frame: Frame,
        found: Detections,
        records: Sequence[DetectionRecord],
        cloth_lines: Mask | None,
        *,
        shared_lines: int = 0,
        joint_row: int | None = None,
        cloth_columns: tuple[float, float] | None = None,
    ) -> RollPlan | None:
        """Account for a frame that was looked at.

        Args:
            frame: in the order of capture.
            found: boxes in its pixels; `records` are the same for people.
            cloth_lines: (H,) bool, which of its lines show cloth; None for all.
            shared_lines: see `RollPart.place`.
            joint_row: row at which another roll begins, as a joint in the cloth says; None for none.
            cloth_columns: first and last-plus-one column of the cloth; None for all.
        Returns:
            How the next frames are inspected, if a roll began at a joint; else None.
        """
        state = self._state
        self._frame_came(frame.frame_id)
        for record in records:
            label = record["label"]
            state.detections_by_class[label] = state.detections_by_class.get(label, 0) + 1
        pieces: list[ClothDefect] = []
        if frame.position is not None and len(found):
            pieces = cloth_from_frame(found, frame.position, state.class_names, frame.frame_id)
        plan = None
        for begins, part, lines, own in parts_of_frame(frame, cloth_lines, pieces, joint_row):
            if begins:
                plan = self.change_roll(RollRequest("joint"))
            self._account(part, own, lines, shared_lines, cloth_columns)
        if joint_row is not None and joint_row >= len(frame.image):
            plan = self.change_roll(RollRequest("joint"))
        state.last_frame = frame
        state.frame_size_hw_px = frame.image.shape[:2]
        return plan

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

    def change_roll(self, request: RollRequest) -> RollPlan:
        """End the roll behind the last line that was accounted for, and begin the next there.

        Returns:
            How it is inspected.
        """
        state = self._state
        self._record(self._last_of_roll())
        plan = self._plan(request)  # may open a model, which takes time, or fail
        name = plan.head.name
        if self._recorder is not None:
            request_id = request.request_id if request.by == "command" else None
            with self._clock.stage("record"):
                self._recorder.change_roll(
                    state.coverage, state.width.mm, plan.head, request.by, request_id, who=request.who
                )
            name = self._recorder.roll_name or name
        state.end_roll(state.roll.following(plan.head.terms(name)))
        if self._audit is not None:
            self._audit.roll_changed(request, plan, name)
        self._tell(plan.events)
        if plan.class_names:
            state.class_names = plan.class_names
        if self._stops is not None and plan.stop is not None:
            coverage = state.coverage
            self._stops.new_policy(plan.stop, state.class_names, coverage.first_line * coverage.m_per_line)
        return plan

    def end(self) -> None:
        """Complete what is open, and close the record of the roll."""
        last, state = self._last_of_roll(settle=True), self._state
        self._ask_health(is_over=True)
        if state.error is not None:
            self._event("run ended by an error", str(state.error))
        self._record(last)
        self._ask_reporters()
        if self._recorder is not None:
            status: RollStatus = "finished" if state.error is None else "failed"
            self._recorder.finish(state.coverage, state.width.mm, status)

    def _last_of_roll(self, *, settle: bool = False) -> list[ClothDefect]:
        """Complete what is open at the end of a roll, and say what of its width was not seen.

        Args:
            settle: wait until no stop is under way.
        """
        last = self._state.roll.merger.finish()
        self._state.take(last)
        self._tell_recurring()
        self._name_again()
        if settle and self._stops is not None:
            self._stops.settle()
        self._tell_unseen_width(self._state.roll.across)
        return last

    def _account(
        self,
        frame: Frame,
        pieces: list[ClothDefect],
        cloth_lines: Mask | None,
        shared_lines: int,
        cloth_columns: tuple[float, float] | None,
    ) -> None:
        """Account for a frame, or the part of one, that belongs to one roll."""
        roll, position = self._state.roll, frame.position
        filled = roll.coverage.passed(frame, cloth_lines, cloth_columns)
        if position is None:
            self._record([])
            return
        roll.width.add(position)
        complete = roll.place(pieces, frame, position, shared_lines, filled)
        self._check_direction(roll.last_line)
        if self._stops is not None:  # before the record: the machine does not wait for the disk
            defects = [*complete, *roll.merger.growing]
            end_m = position.along_m + len(frame.image) * position.mm_per_px_along / 1000
            self._stops.placed(position.along_m, frame.monotonic_s, pieces, defects, end_m)
        self._tell_recurring()
        self._record(complete)
        if complete:
            self._state.take(complete)
        self._name_again()  # behind the record, which gave the first its id

    def _check_direction(self, first_line: int) -> None:
        """Warn, once, of cloth that lies before the beginning of the run."""
        if self._began_at is None:
            self._began_at = self._state.roll.coverage.first_line
        if first_line < self._began_at and not self._direction_is_told:
            self._direction_is_told = True
            logger.warning(WRONG_DIRECTION)
            self._event("cloth before the start", WRONG_DIRECTION)

    def _name_again(self) -> None:
        """Let stops name what recurs, and is not recorded, as what is."""
        recurring = self._state.roll.merger.recurring
        for before, again in recurring.take_again() if recurring.again else ():
            if self._stops is not None:
                self._stops.comes_again(before, again)

    def _tell_recurring(self) -> None:
        """Record what comes again and again at the same ends of the warp."""
        recurring = self._state.roll.merger.recurring
        if recurring.news:
            self._tell([recurrence_event(one) for one in recurring.take_news()])

    def _tell_unseen_width(self, across: Across) -> None:
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

    def _frame_came(self, frame_id: int) -> None:
        """Note that the camera delivers."""
        self._ask_health()
        if self._silence_is_told:
            self._event("camera back", f"frame {frame_id}")
        self._silence_is_told = False
        self._state.silent_s = 0.0

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
        if events:
            self._take(events)
        return bool(events)

    def _tell(self, events: Sequence[RecordedEvent]) -> None:
        """Record events; their places are in metres of the camera."""
        for event in events:
            logger.info("%s: %s", event.kind, event.detail)
        self._take(events)

    def _take(self, events: Sequence[RecordedEvent]) -> None:
        """Bring events into the record, and those that somebody has to answer for into the audit log."""
        if self._audit is not None:
            self._audit.take(events, self._state.roll.terms.name)
        if self._recorder is not None:
            self._recorder.take(events, self._state.coverage)

    def _event(self, kind: str, detail: str) -> None:
        if self._recorder is not None:
            self._recorder.event(kind, detail)

    def _record(self, defects: Sequence[ClothDefect]) -> None:
        """Record what a frame brought: defects that are complete now, in metres of the camera."""
        self._ask_reporters()
        self._write(defects)

    def _write(self, defects: Sequence[ClothDefect]) -> None:
        roll = self._state.roll
        gaps = roll.coverage.gap_list
        if self._recorder is None:
            gaps.take_changed()
        else:
            with self._clock.stage("record"):
                self._recorder.add(defects, roll.coverage, roll.width.mm)
        if self._recorder is None or not self._recorder.is_blocked:
            gaps.forget()

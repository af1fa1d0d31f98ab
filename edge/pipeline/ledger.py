"""What passed, roll by roll: coverage, defects, stops and the record, in the order of the cloth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from edge.cameras.protocol import DroppedFrames, Frame
from edge.cloth.defects import ClothDefect, cloth_from_frame
from edge.cloth.mask import Mask
from edge.cloth.recurring import Recurrence
from edge.core.detections import DetectionRecord, Detections
from edge.core.events import RecordedEvent, utc_now
from edge.decisions.stops import Stops
from edge.pipeline.changes import RollPlan, RollWish
from edge.pipeline.journal import Journal
from edge.pipeline.run_state import RunState
from edge.roll.part import cut_at
from edge.roll.values import RECURRED, RECURS, RollHead, roll_name_of
from edge.sinks.raw_stream import Recording

Planner = Callable[[RollWish], RollPlan]


def same_cloth(wish: RollWish) -> RollPlan:
    """Return the plan of a roll that is inspected as the one before."""
    return RollPlan(RollHead("", "", {}, wish.name or roll_name_of(utc_now()), wish.article))


class Ledger:
    """Account for each frame of a run, and for the change from one roll to the next.

    Args:
        state: of the run.
        journal: takes all of it into the record.
        stops: decides about stopping the machine; None to decide nothing.
        recording: notes what was dropped; None for none.
        plan: says how the next roll is inspected; asked when it begins.
    """

    def __init__(
        self,
        state: RunState,
        journal: Journal,
        stops: Stops | None = None,
        recording: Recording | None = None,
        plan: Planner = same_cloth,
    ) -> None:
        self._state = state
        self._journal = journal
        self._stops = stops
        self._recording = recording
        self._plan = plan

    def unreadable(self, total: int) -> None:
        """Count the pictures of the run that could not be read."""
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
        self._journal.frame_came(frame.frame_id)
        self._state.coverage.dark(frame)
        self._state.last_frame = frame
        self._journal.record([])

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
        self._journal.frame_came(frame.frame_id)
        for record in records:
            label = record["label"]
            state.detections_by_class[label] = state.detections_by_class.get(label, 0) + 1
        pieces: list[ClothDefect] = []
        if frame.position is not None:
            pieces = cloth_from_frame(found, frame.position, state.class_names, frame.frame_id)
        plan = None
        for begins, part, lines, own in _parts(frame, cloth_lines, pieces, joint_row):
            if begins:
                plan = self.change_roll(RollWish("joint"))
            self._account(part, own, lines, shared_lines, cloth_columns)
        if joint_row is not None and joint_row >= len(frame.image):
            plan = self.change_roll(RollWish("joint"))
        state.last_frame = frame
        state.frame_size_hw_px = frame.image.shape[:2]
        return plan

    def change_roll(self, wish: RollWish) -> RollPlan:
        """End the roll behind the last line that was accounted for, and begin the next there.

        Returns:
            How it is inspected.
        """
        state = self._state
        last = state.roll.merger.finish()
        state.take(last)
        self._tell_recurring()
        self._name_again()
        self._journal.width_seen(state.roll.across)
        self._journal.record(last)
        plan = self._plan(wish)  # may open a model, which takes time, or fail
        head = plan.head
        name = self._journal.change_roll(head, wish) or head.name
        state.end_roll(state.roll.following(head.terms(name)))
        self._journal.tell(plan.events)
        if plan.class_names:
            state.class_names = plan.class_names
        if self._stops is not None and plan.stop is not None:
            coverage = state.coverage
            self._stops.new_policy(plan.stop, state.class_names, coverage.first_line * coverage.m_per_line)
        return plan

    def end(self) -> None:
        """Complete what is open, and close the record of the roll."""
        last = self._state.roll.merger.finish()
        self._state.take(last)
        self._tell_recurring()
        self._name_again()
        if self._stops is not None:
            self._stops.settle()
        self._journal.width_seen(self._state.roll.across)
        self._journal.end(last)

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
            self._journal.record([])
            return
        roll.width.add(position)
        self._journal.line_passed(position.first_line)
        complete = roll.place(pieces, frame, position, shared_lines, filled)
        if self._stops is not None:  # before the record: the machine does not wait for the disk
            defects = [*complete, *roll.merger.growing]
            end_m = position.along_m + len(frame.image) * position.mm_per_px_along / 1000
            self._stops.placed(position.along_m, frame.monotonic_s, pieces, defects, end_m)
        self._tell_recurring()
        self._journal.record(complete)
        self._state.take(complete)
        self._name_again()  # behind the record, which gave the first its id

    def _name_again(self) -> None:
        """Let stops name what recurs, and is not recorded, as what is."""
        for before, again in self._state.roll.merger.recurring.take_again():
            if self._stops is not None:
                self._stops.comes_again(before, again)

    def _tell_recurring(self) -> None:
        """Record what comes again and again at the same ends of the warp."""
        self._journal.tell([_recurs(one) for one in self._state.roll.merger.recurring.take_news()])


def _recurs(seen: Recurrence) -> RecordedEvent:
    first = seen.first
    place = f"{first.class_name} at {first.left_mm:.0f} to {first.right_mm:.0f} mm"
    length_m = seen.end_m - first.start_m
    detail = f"{place}: {seen.times} times within {length_m:.2f} m, reported once"
    data = {
        "class_name": first.class_name,
        "left_mm": round(first.left_mm, 1),
        "right_mm": round(first.right_mm, 1),
        "times": seen.times,
        "length_m": round(length_m, 3),
    }
    kind = RECURRED if seen.has_ended else RECURS
    return RecordedEvent(kind, detail, first.start_m, data=data)


def _parts(
    frame: Frame, cloth_lines: Mask | None, pieces: list[ClothDefect], row: int | None
) -> Iterator[tuple[bool, Frame, Mask | None, list[ClothDefect]]]:
    """Yield a frame whole, or what lies before a row and from there on; say whether a roll begins with it.

    With each come its lines with cloth and the pieces that it shows.
    """
    position = frame.position
    if not row or position is None or row >= len(frame.image):
        yield row == 0, frame, cloth_lines, pieces
        return
    at_m = position.along_m + row * position.mm_per_px_along / 1000
    before, behind = cut_at(pieces, at_m)
    upper, lower = (None, None) if cloth_lines is None else (cloth_lines[:row], cloth_lines[row:])
    yield False, replace(frame, image=frame.image[:row]), upper, before
    moved = replace(frame, image=frame.image[row:], position=replace(position, along_m=at_m))
    yield True, moved, lower, behind

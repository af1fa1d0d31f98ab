"""Teach an article beside the inspection of a run, and note it in a recording."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from edge.cameras.protocol import Frame
from edge.cameras.raw_stream import RecordedTeaching, TeachingNote
from edge.core.detections import with_unclassified
from edge.core.errors import ConfigError, LoomsightError
from edge.decisions.stops import Stops
from edge.inference.inspector import Inspector
from edge.pipeline.changeover import Changeover
from edge.reference.second_look import Looker
from edge.sinks.raw_stream import Recording
from edge.teach.on_the_roll import RollTeacher, TeachingStep
from edge.teach.requests import TeachingRequests
from edge.teach.roll_reading import StripRead
from edge.teach.values import TeachingRequest


@dataclass(frozen=True, slots=True)
class LearntArticle:
    """Hold the reference model and thresholds of a run once an article is learnt."""

    inspector: Inspector
    reference: Looker | None


class TeachingInRun:
    """Let a run learn the article on its loom.

    Args:
        teacher: learns.
        changeover: has what the roll is inspected with.
        requests: of the teacher; asked by any thread.
    Attributes:
        teacher: as given; a `Reporter`, which says how far it is.
    """

    def __init__(self, teacher: RollTeacher, changeover: Changeover, requests: TeachingRequests) -> None:
        self.teacher = teacher
        self._changeover = changeover
        self._requests = requests
        self._is_shadow = False
        self._is_checked = False
        self._misfit: LoomsightError | None = None

    def ask(self, request: TeachingRequest) -> None:
        """Ask for teaching to begin or to end, in any thread; it is done with the next frame.

        Raises:
            ConfigError: if it cannot be done now.
        """
        now = self.teacher.now
        if request == "begin" and now is not None:
            raise ConfigError("An article is being learnt already.", "Wait, or cancel that.")
        if request == "cancel" and now is None:
            raise ConfigError("No article is being learnt.", "There is nothing to cancel.")
        self._requests.ask(request)

    def before(self, frame: Frame, strips: int) -> TeachingStep | None:
        """Say what changes before a frame; see `RollTeacher.before`.

        What was learnt of an article before is first seen to go with the camera: else it is learnt again.
        """
        if not self._is_checked and frame.position is not None:
            self._is_checked = True
            self._misfit = self._changeover.misfit(frame)
            if self._misfit is not None:
                return TeachingStep("misfit", frame.frame_id, frame.position.along_m)
        return self.teacher.before(frame, strips)

    def take(
        self, step: TeachingStep, stop: threading.Event, recording: Recording | None
    ) -> LearntArticle | None:
        """Take a step, with nothing started.

        Returns:
            What is to be inspected with from here on; None if that stays.
        """
        if step.kind == "misfit":
            return self._forgotten(step)
        article, note = self.teacher.take(step, stop)
        _note(recording, note, step.frame_id - 1)
        if article is not None:
            self._changeover.use(article)
        self._follow(step.at_m)
        if article is None:
            return None
        return LearntArticle(self._changeover.inspector, self._changeover.reference)

    def _forgotten(self, step: TeachingStep) -> LearntArticle:
        """Go on as if nobody had taught the article."""
        if self._misfit is not None:
            self.teacher.tell_misfit(self._misfit, step.at_m)
        self._changeover.forget()
        return LearntArticle(self._changeover.inspector, self._changeover.reference)

    def read(self, strip: StripRead) -> None:
        """Read a strip that was inspected."""
        self.teacher.add(strip)
        self._follow(strip.frame.position.along_m if strip.frame.position else 0.0)

    def new_cloth(self, *, is_other: bool, at_m: float) -> None:
        """Take in that a roll began, by another policy if it is of another article."""
        if is_other:
            self._is_shadow = self._is_checked = False
        self.teacher.new_cloth(is_other=is_other, at_m=at_m)
        self._follow(at_m)

    def finish(self, stop: threading.Event, recording: Recording | None, last: Frame | None) -> None:
        """End with the run; see `RollTeacher.finish`."""
        at_m = last.position.along_m if last is not None and last.position is not None else None
        note = self.teacher.finish(stop, at_m)
        _note(recording, note, last.frame_id if last is not None else 0)

    def _follow(self, at_m: float) -> None:
        """Let the detector tell what is weak while strips are read, and nothing stop while they are new."""
        self._changeover.inspector.wants_weak = self.teacher.is_reading
        stops = self._changeover.stops
        is_new = self.teacher.is_on_new_article
        if stops is not None and is_new != self._is_shadow:
            self._set_policy(stops, at_m, is_new=is_new)
        self._is_shadow = is_new

    def _set_policy(self, stops: Stops, at_m: float, *, is_new: bool) -> None:
        """Only decide and record about an article that is new; about others do what the settings say."""
        settings = self._changeover.config.stop
        if settings.mode != "on":
            return
        policy = settings.model_copy(update={"mode": "shadow"}) if is_new else settings
        stops.new_policy(policy, with_unclassified(self._changeover.contract.class_names), at_m)


def _note(recording: Recording | None, note: TeachingNote | None, last_frame_id: int) -> None:
    if recording is not None and note is not None:
        recording.taught(RecordedTeaching(note, last_frame_id))

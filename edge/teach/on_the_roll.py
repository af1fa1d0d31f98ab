"""Learn the article on the loom from the first metres of its roll, while the run goes on.

What is learnt, and from which frame on it is used, depends on frames alone: strips are kept until enough
metres are read, a thread fits them while the run goes on, and what came of it is used a fixed length of
cloth later. Where frames wait, as those of a file or a recording do, inspection waits there for the thread;
a live camera cannot wait, so its use is put off by the same length again, and the recording notes that.

Called by the thread that inspects, but for `requests`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import floor
from typing import Final, Literal

from edge.cameras.protocol import Frame
from edge.cameras.raw_stream import TeachingNote
from edge.config.auto_teach import AutoTeachSettings
from edge.core.counted import counted
from edge.core.errors import ConfigError, LoomsightError
from edge.core.events import RecordedEvent
from edge.process.last_resort import internal_error, wants_traceback
from edge.process.supervised import note_here
from edge.teach.article_file import ArticleFile, published
from edge.teach.fitting import Fitting
from edge.teach.learning import Learnt
from edge.teach.requests import TeachingRequests
from edge.teach.roll_reading import CURE, RollReading, StripRead, Subject
from edge.teach.spool import Spool
from edge.teach.values import GOES_ON, LEARNT, NOT_LEARNT, NOT_OPENED, STARTED, TeachingNow

logger = logging.getLogger(__name__)

SETTLE_RATIO: Final = 1 / 3
"""Of the metres that are read: so much cloth later what was learnt is used. Fitting takes less."""

SETTLE_STRIPS: Final = 5
"""At least: a strip is inspected while the next one or two are prepared."""

TOLD_RATIO: Final = 1 / 3
"""Of the metres to read: how far the teaching is becomes an event so often."""


@dataclass(frozen=True, slots=True)
class TeachingStep:
    """Say what changes before a frame.

    Attributes:
        kind: teaching begins, is cancelled, or what came of it is due; or what was learnt before is of
            another camera.
        frame_id, at_m: of that frame.
    """

    kind: Literal["begin", "cancel", "due", "misfit"]
    frame_id: int
    at_m: float


Taken = tuple[ArticleFile | None, TeachingNote | None]


class RollTeacher:
    """Learn the article on the loom.

    Args:
        settings: whether by itself, from how much cloth, and for which promise.
        subject: returns what is on the loom now.
        is_live: whether the camera does not wait for inspection.
        begins_alone: whether articles that nobody taught are learnt without being asked for.
        requests: what others ask for.
    Attributes:
        now: how far it is; None while nothing is learnt.
    """

    def __init__(
        self,
        settings: AutoTeachSettings,
        subject: Callable[[], Subject],
        *,
        is_live: bool,
        begins_alone: bool,
        requests: TeachingRequests,
    ) -> None:
        self._settings = settings
        self._subject_now = subject
        self._is_live = is_live
        self._begins_alone = begins_alone
        self._requests = requests
        self._stack = ExitStack()
        self._events: list[RecordedEvent] = []
        self._reading: RollReading | None = None
        self._fitting: Fitting | None = None
        self._subject: Subject | None = None
        self._read_until = 0
        self._due_m = 0.0
        self._was_late = False
        self._is_new_cloth = True
        self._begins_m: float | None = None
        self.now: TeachingNow | None = None

    @property
    def is_reading(self) -> bool:
        """Whether strips are wanted."""
        return self._reading is not None

    @property
    def is_on_new_article(self) -> bool:
        """Whether an article is being learnt that nobody taught: nothing stops the machine then."""
        return self.now is not None and self.now.is_new

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call; see `edge.core.events.Reporter`."""
        events, self._events = self._events, []
        return events

    def before(self, frame: Frame, strips: int) -> TeachingStep | None:
        """Say what changes before a frame; None for nothing.

        Args:
            frame: as the camera delivered it.
            strips: that were handed out so far; the last of them may not be inspected yet.
        Raises:
            ConfigError: if the camera knows no position.
        """
        if frame.position is None:
            raise ConfigError(
                "The camera knows no position, so auto_teach cannot count metres.",
                "Leave auto_teach out; for a video or a folder, --mm-per-px also helps.",
            )
        at_m, request = frame.position.along_m, self._requests.due(frame.frame_id)
        if request is None and self._is_to_begin(at_m):
            request = "begin"
        if request is not None and (request == "begin") == (self.now is None):
            return TeachingStep(request, frame.frame_id, at_m)
        if self._fitting is None or strips - 1 <= self._read_until or at_m < self._due_m:
            return None
        return TeachingStep("due", frame.frame_id, at_m)

    def take(self, step: TeachingStep, stop: threading.Event) -> Taken:
        """Take a step.

        Args:
            stop: the run is to end: nothing is waited for.
        Returns:
            The article file that is to be used from here on, or None; and what a recording is to note.
        """
        if step.kind == "begin":
            return None, "begin" if self._begin(step.at_m) else None
        if step.kind == "cancel":
            return None, "cancel" if self._cancel("somebody cancelled it", step.at_m) else None
        return self._take_due(step, stop)

    def add(self, strip: StripRead) -> None:
        """Read a strip that was inspected; its number is as `before` counts them."""
        reading, position = self._reading, strip.frame.position
        if reading is None or position is None:
            return
        end_m = position.along_m + len(strip.frame.image) * position.mm_per_px_along / 1000
        try:
            reading.add(strip)
        except LoomsightError as error:
            self._fail(error, end_m)
            return
        # What is beside inspection does not end it.
        except Exception as error:
            if wants_traceback(os.environ):
                raise
            note_here(error)
            self._fail(internal_error(error), end_m)
            return
        self._tell_progress(reading, end_m)
        if reading.is_enough:
            self._fit(reading, strip.number, end_m, end_m - position.along_m)

    def new_cloth(self, *, is_other: bool, at_m: float) -> None:
        """Take in that a roll began.

        Args:
            is_other: whether it is of another article.
            at_m: where.
        """
        if not is_other:
            return
        self._is_new_cloth, self._begins_m = True, None
        if self._reading is not None:
            self._cancel("another article is on the loom", at_m)

    def finish(self, stop: threading.Event, at_m: float | None) -> TeachingNote | None:
        """End with the run: what is being fitted is published, if there is time for it.

        Args:
            stop: somebody ended the run: nothing is waited for.
        Returns:
            What a recording is to note.
        """
        is_cancelled = self._requests.due(None) == "cancel"
        noted: TeachingNote | None = None
        if self._fitting is not None and not is_cancelled:
            outcome = self._fitting.wait(stop)
            noted = "cancel" if outcome is None else None
            if outcome is not None:
                self._publish(outcome, at_m, in_use=False)
        if self.now is not None:
            self._cancel("the run ended", at_m)
        return noted

    def tell_misfit(self, error: LoomsightError, at_m: float) -> None:
        """Say that what was learnt of the article before is not used, and why."""
        logger.warning("what was learnt of the article is not used: %s", error)
        self._events.append(RecordedEvent(NOT_OPENED, f"it is as if nobody had taught it: {error}", at_m))

    def close(self) -> None:
        """Let go of thread and images, however the run ended."""
        if self._fitting is not None:
            self._fitting.cancel()
        self._clear()

    def _is_to_begin(self, at_m: float) -> bool:
        """Tell, once per article, whether teaching begins by itself; again some metres after it failed."""
        if not self._begins_alone or self.now is not None:
            return False
        is_time = self._is_new_cloth or (self._begins_m is not None and at_m >= self._begins_m)
        if not is_time:
            return False
        self._is_new_cloth, self._begins_m = False, None
        return not self._subject_now().is_taught

    def _begin(self, at_m: float) -> bool:
        if self.now is not None:
            return False
        subject, settings = self._subject_now(), self._settings
        try:
            spool = self._stack.enter_context(Spool(subject.path.absolute().parent, CURE))
        except LoomsightError as error:
            self._fail(error, at_m, subject)
            return False
        self._subject = subject
        self._reading = RollReading(subject, spool, settings.metres)
        self.now = self._state(self._reading, "reading")
        budget = settings.budget.text()
        detail = f"{subject.text()}: {settings.metres:g} m of clean cloth are read for {budget}"
        if not subject.is_taught:
            detail += "; nothing stops the machine until it is learnt"
        self._tell(STARTED, detail, at_m)
        return True

    def _take_due(self, step: TeachingStep, stop: threading.Event) -> Taken:
        fitting = self._fitting
        if fitting is None:
            return None, None
        if self._requests.was_late(step.frame_id) or (self._is_live and not fitting.is_done):
            self._due_m = step.at_m + SETTLE_RATIO * self._settings.metres
            level = logging.DEBUG if self._was_late else logging.WARNING
            logger.log(level, "the article is not learnt yet: it is used from metre %.1f on", self._due_m)
            self._was_late = True
            return None, "late"
        outcome = fitting.wait(stop)
        if outcome is None:
            return None, None  # the run ends: `finish` says so
        return self._publish(outcome, step.at_m, in_use=True), None

    def _publish(
        self, outcome: Learnt | LoomsightError, at_m: float | None, *, in_use: bool
    ) -> ArticleFile | None:
        """Publish what was learnt; None, and an event that says why, if that cannot be done."""
        subject = self._subject
        if isinstance(outcome, LoomsightError) or subject is None:
            if isinstance(outcome, LoomsightError):
                self._fail(outcome, at_m)
            return None
        try:
            article = published(
                subject.path, outcome.manifest, outcome.arrays, outcome.sheet_png,
                may_replace=subject.may_replace,
            )  # fmt: skip
        except LoomsightError as error:
            self._fail(error, at_m)
            return None
        is_current = in_use and self._subject_now().called == subject.called
        use = "in use from here on" if is_current else "the next roll of it uses that"
        promise = article.manifest.promise
        data = {
            "false_alarms_per_100m": promise.false_alarms,
            "metres": article.manifest.cloth.metres,
            "in_use": is_current,
            "places_left_out": len(article.manifest.struck_out),
        }
        left_out = len(article.manifest.struck_out)
        places = counted(left_out, "place that stands", "places that stand")
        noticed = f"; {places} far out of the rest left out" if left_out else ""
        noticed += f"; {outcome.pattern.text()}" if outcome.pattern is not None else ""
        self._tell(LEARNT, f"{subject.text()}: {promise.text()}; {use}{noticed}", at_m, data)
        logger.info("article file in %s", subject.path)
        self._clear()
        return article if is_current else None

    def _tell_progress(self, reading: RollReading, at_m: float) -> None:
        step_m = self._settings.metres * TOLD_RATIO
        self.now = self._state(reading, "reading")
        parts = floor(reading.metres / step_m + 1e-9)
        if parts > reading.parts_reported and not reading.is_enough:
            reading.parts_reported = parts
            self._tell(GOES_ON, f"{reading.subject.text()}: {self.now.text()}", at_m, self.now.as_json())

    def _fit(self, reading: RollReading, number: int, end_m: float, strip_m: float) -> None:
        subject = reading.subject
        self._reading, self._read_until, self._was_late = None, number, False
        self.now = self._state(reading, "fitting")
        settle_m = max(SETTLE_RATIO * self._settings.metres, SETTLE_STRIPS * strip_m)
        self._due_m = end_m + settle_m
        self._fitting = Fitting(
            subject.called, self._settings.budget, reading.cloth, reading.keeper, subject.detector
        )
        self._fitting.begin()
        logger.info(
            "%s: %.1f m were read; it is used %.1f m later", subject.text(), reading.metres, settle_m
        )

    def _cancel(self, why: str, at_m: float | None) -> bool:
        if self.now is None or self._subject is None:
            return False
        detail = f"{self._subject.text()}: {why}; {self.now.text()}"
        if self._fitting is not None:
            self._fitting.cancel()
        self._clear()
        self._tell(NOT_LEARNT, detail, at_m)
        return True

    def _fail(self, error: LoomsightError, at_m: float | None, subject: Subject | None = None) -> None:
        """Say why nothing was learnt; inspection goes on with what there was."""
        who = subject or self._subject
        self._clear()
        detail = f"{who.text() if who else 'the article'}: {error}"
        logger.error("%s: %s", NOT_LEARNT, detail)
        self._events.append(RecordedEvent(NOT_LEARNT, detail, at_m))
        if at_m is not None:
            self._begins_m = at_m + self._settings.metres

    def _clear(self) -> None:
        self._reading = self._fitting = self._subject = self.now = None
        self._stack.close()

    def _state(self, reading: RollReading, phase: Literal["reading", "fitting"]) -> TeachingNow:
        metres, budget = reading.metres, self._settings.budget
        least = budget.least(reading.amount) if metres > 0 else None
        subject = reading.subject
        return TeachingNow(
            subject.article, phase, metres, self._settings.metres, least, is_new=not subject.is_taught
        )

    def _tell(
        self, kind: str, detail: str, at_m: float | None, data: Mapping[str, object] | None = None
    ) -> None:
        logger.info("%s: %s", kind, detail)
        self._events.append(RecordedEvent(kind, detail, at_m, data=dict(data) if data else None))

"""Record a run: every defect and event is on the disk before it is reported."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from typing_extensions import Self

from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.core.counted import counted
from edge.core.errors import LoomsightError, OutputError, RecordError
from edge.core.events import RecordedEvent, new_id, utc_now
from edge.roll.audit_heads import AuditHead, write_head
from edge.roll.carry import succeed
from edge.roll.database import DAMAGE_ERRORS, RecordFile, described, is_damage
from edge.roll.outbox import Outbox, queue_nothing
from edge.roll.requests import Request, unanswered
from edge.roll.values import ROLL_ENDED, ROLL_STARTED, OpenRoll, RecordedDefect, RollHead, RollStatus
from edge.roll.waiting import PendingRoll, Waiting
from edge.roll.writing import begin_roll, close_interrupted, count_defects, end_roll, insert_event, new_roll

logger = logging.getLogger(__name__)

PROGRESS_S = 1.0
"""Coverage is written at least so often while cloth passes; defects and events at once."""

RETRY_S = 5.0
"""A record that could not be written is tried again after this time."""

RETRY_WAIT_MS = 50
"""So long later tries wait for another program, in place of a second: a live camera overruns in that."""

MOST_ENDS = 3
"""A record that goes away while its roll is closed is written again, but not forever."""

MOST_SMALL_IMAGES = 2000
"""Defects of a roll that get a small image in the record: some 20 MB."""

Announce = Callable[[Sequence[RecordedDefect], Sequence[RecordedEvent]], None]


class RollRecorder:
    """Write one run into a roll record. Entering opens the file and begins the roll, or goes on with it.

    `change_roll` ends the roll and begins the next, in one transaction.

    When the record cannot be written for a while (disk full, locked by another program), inspection goes
    on: what was found waits in memory under the ids it has, is not announced, and is written as soon as
    that works. What does not get written before the end of the run is the run's error.

    Args:
        path: of the record.
        head: which roll, and with what; of the first one.
        image_of: gives the image that shows a defect; None if there is none.
        announce: told of defects and events once they are on the disk, each exactly once.
        id_of: gives the id of a defect, in metres of the camera; None leaves it to the recorder.
        outbox: what is recorded waits there, too, to be sent; None if nothing is.
        small_image_of: gives a JPEG of a defect for the record; None if there is none.
        audit_head: gives the name of the audit log and its newest entry, to be kept with each change.
    """

    def __init__(
        self,
        path: Path,
        head: RollHead,
        image_of: Callable[[ClothDefect], Path | None] = lambda _: None,
        announce: Announce = lambda defects, events: None,
        id_of: Callable[[ClothDefect], str | None] = lambda _: None,
        outbox: Outbox | None = None,
        small_image_of: Callable[[ClothDefect], bytes | None] = lambda _: None,
        audit_head: Callable[[], AuditHead] = lambda: ("", None),
    ) -> None:
        self._path = path
        self._head = head
        self._image_of = image_of
        self._announce = announce
        self._id_of = id_of
        self._outbox = outbox
        self._small_image_of = small_image_of
        self._audit_head = audit_head
        self._file: RecordFile | None = None
        self._waiting = Waiting()
        self._written_s = 0.0
        self._blocked_s: float | None = None
        self._blocked_since = ""
        self._is_damaged = False
        self._replaced: list[str] = []

    def __enter__(self) -> Self:
        file = RecordFile(self._path)
        try:
            try:
                interrupted, roll = self._begin(file)
            except DAMAGE_ERRORS as error:
                if not is_damage(error):
                    raise described(self._path, error) from error
                # What the check of the whole file did not see: without this, every start would end here.
                file.leave()
                file = RecordFile(self._path, again=True)
                logger.warning("%s is damaged: it is now %s", self._path, file.set_aside)
                interrupted, roll = self._begin(file)
        except BaseException:
            file.close()
            raise
        self._file = file
        self._waiting.now = PendingRoll(
            self._head, roll, True, count_defects(file.connection, roll.roll_id)
        )
        for name in interrupted:
            logger.warning("roll '%s' was interrupted; it is closed as it stands", name)
        verb = "started" if roll.started else f"continued behind line {roll.reached_line}"
        logger.info("roll '%s' %s in %s", roll.name, verb, self._path)
        return self

    def _begin(self, file: RecordFile) -> tuple[list[str], OpenRoll]:
        """Close what a killed run left open, and begin the roll or go on with it."""
        if self._outbox is not None:
            self._outbox.collect_from(file.connection)
        else:
            queue_nothing(file.connection)
        with file.transaction() as db:
            interrupted = close_interrupted(db)
            db.execute("DELETE FROM requests")  # nobody waits for an answer any more
            roll = begin_roll(db, self._head)
            if file.set_aside is not None:
                detail = f"{file.path.name} was damaged and is now {file.set_aside.name}"
                insert_event(db, roll.roll_id, RecordedEvent("record set aside", detail))
        return interrupted, roll

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def roll_name(self) -> str | None:
        """Name of the roll; None before it is open."""
        now = self._waiting.now  # another thread may ask
        return now.roll.name if now else None

    @property
    def roll_id(self) -> str | None:
        """Id of the roll; None before it is open."""
        now = self._waiting.now
        return now.roll.roll_id if now else None

    @property
    def defects_recorded(self) -> int:
        """How many defects the record has of the roll, those of earlier runs among them."""
        now = self._waiting.now
        return now.recorded if now else 0

    @property
    def path(self) -> Path:
        """The record."""
        return self._path

    @property
    def is_blocked(self) -> bool:
        """Whether the record cannot be written at the moment: what is found waits in memory."""
        return self._blocked_s is not None

    @property
    def replaced(self) -> str | None:
        """What became of the record while it was written, the last time; None if it is where it was."""
        return self._replaced[-1] if self._replaced else None

    @property
    def times_replaced(self) -> int:
        """How often a new record was started in the place of one: rows have other numbers in it."""
        return len(self._replaced)

    def shift_m(self, coverage: Coverage) -> float:
        """Return where on the roll metre 0 of the camera lies; 0 before the roll is open."""
        reached_line = self._waiting.now.roll.reached_line if self._waiting.now else 0
        return (reached_line - coverage.first_line) * coverage.m_per_line

    def add(self, defects: Sequence[ClothDefect], coverage: Coverage, width_mm: float | None) -> None:
        """Record what a frame brought; see `RollRecorder` for what happens if that cannot be written.

        Args:
            defects: that are complete now, in metres of the camera.
            coverage: of the run.
            width_mm: of the cloth as measured; None if not known.
        Raises:
            ConfigError: if the roll was recorded at another scale.
        """
        now = self._waiting.roll
        now.check_scale(coverage)
        for defect in defects:
            on_roll, image = self._on_roll(defect, coverage), self._image(defect)
            event_id = self._id_of(defect) or new_id()
            small = self._small_image(defect)
            self._waiting.keep(RecordedDefect(on_roll, image, event_id, small_image=small))
        due = time.monotonic() - self._written_s >= PROGRESS_S
        if self._waiting.is_urgent or due:
            now.cover(coverage, width_mm)
            self._write()

    def change_roll(
        self,
        coverage: Coverage,
        width_mm: float | None,
        head: RollHead,
        by: str,
        request_id: str | None = None,
        *,
        who: str | None = None,
    ) -> None:
        """End the roll and begin a new one: both in one transaction, or, if that fails, both in memory.

        Args:
            coverage: of the roll that ends; its last defects were given to `add`.
            width_mm: of its cloth as measured; None if not known.
            head: of the new roll.
            by: who asked for it.
            request_id: of a request in the record that this answers; None for none.
            who: name of the user who asked; None where there are no users.
        """
        old, roll = self._waiting.roll, new_roll(head)
        end_m = self.shift_m(coverage) + coverage.reached_line * coverage.m_per_line
        at_m = end_m if coverage.knows_metres else None
        user = {"who": who} if who else {}
        asked = f"{by}, '{who}'" if who else by
        following = {"next": roll.roll_id, "name": roll.name, "by": by, **user}
        before = {"after": old.roll.roll_id, "name": old.roll.name, "by": by, **user}
        ended = RecordedEvent(ROLL_ENDED, f"'{roll.name}' follows ({asked})", at_m, data=following)
        old.events.append(ended)
        old.cover(coverage, width_mm)
        old.end("finished")
        started = RecordedEvent(ROLL_STARTED, f"behind '{old.roll.name}' ({asked})", 0.0, data=before)
        self._waiting.ended.append(old)
        self._waiting.now = PendingRoll(head, roll, is_started=False, events=[started])
        if request_id is not None:
            self._waiting.answers[request_id] = {"name": roll.name, "roll_id": roll.roll_id}
        logger.info("roll '%s' has ended, '%s' follows (%s)", old.roll.name, roll.name, asked)
        self._write()

    def requests(self) -> list[Request]:
        """Return what other programs ask for; the same again until it is answered."""
        if self._file is None:
            return []
        if not self._file.is_in_place:  # also while the loom stands
            self._write()
        try:
            asked, self._waiting.nonsense = unanswered(self._file.connection)
        except DAMAGE_ERRORS as error:
            logger.debug("requests cannot be read now: %s", error)
            return []
        return [request for request in asked if request.request_id not in self._waiting.answers]

    def refuse(self, request_id: str, problem: str, cure: str) -> None:
        """Answer a request that cannot be fulfilled, with the next `add`."""
        self._waiting.answers[request_id] = {"problem": problem, "cure": cure}

    def event(self, kind: str, detail: str) -> None:
        """Record an event with the next `add` or `finish`."""
        self._waiting.keep(RecordedEvent(kind, detail))

    def take(self, events: Sequence[RecordedEvent], coverage: Coverage) -> None:
        """Record events with the next `add` or `finish`; their places are in metres of the camera."""
        shift_m = self.shift_m(coverage)
        for event in events:
            self._waiting.keep(event if event.at_m is None else replace(event, at_m=event.at_m + shift_m))

    def finish(self, coverage: Coverage, width_mm: float | None, status: RollStatus) -> None:
        """Write what waits, close the roll and grade it.

        Raises:
            OutputError, RecordError: if it cannot be written, naming how much is not.
        """
        now = self._waiting.roll
        self._blocked_s = None
        now.cover(coverage, width_mm)
        try:
            self._end(now, status)
        except (LoomsightError, *DAMAGE_ERRORS) as error:
            problem = error if isinstance(error, LoomsightError) else described(self._path, error)
            defects, events = self._waiting.counts()
            lost = f"{counted(defects, 'defect')} and {counted(events, 'event')} are not recorded."
            raise type(problem)(f"{problem.problem} {lost}", problem.cure) from error
        if self._replaced:
            raise RecordError(
                f"{self._replaced[-1]} This roll is in the new file, rolls before it are not.",
                "Find out what removes the file; `loomsight roll list` reads the old one wherever it is.",
            )
        if self._waiting.not_kept:
            raise OutputError(
                f"Defects and events found while {self._path} was full are lost: {self._waiting.not_kept}.",
                "Free space; the record says when that was.",
            )

    def _end(self, now: PendingRoll, status: RollStatus) -> None:
        """Write what waits and close the roll, in the file that is in its place then."""
        for _ in range(MOST_ENDS):
            self._stay_in_place()
            file = self._open_file()
            file.wait_for_others()
            try:
                self._commit(file)
                with file.transaction() as db:
                    end_roll(db, now.roll.roll_id, status, now.head.settings)
            except DAMAGE_ERRORS as error:
                if not is_damage(error):
                    raise
                self._is_damaged = True
            if file.is_in_place and not self._is_damaged:
                return

    def _write(self) -> None:
        if self._blocked_s is not None and time.monotonic() - self._blocked_s < RETRY_S:
            return
        try:
            self._stay_in_place()
        except LoomsightError as error:
            self._block(error, str(error))
            return
        file = self._open_file()
        try:
            self._commit(file)
        except DAMAGE_ERRORS as error:
            self._is_damaged = is_damage(error)
            self._block(described(self._path, error), str(error))
            if not self._is_damaged:
                file.wait_for_others(RETRY_WAIT_MS)

    def _block(self, problem: LoomsightError, why: str) -> None:
        """Let what is found wait in memory for a while."""
        if self._blocked_s is None:
            logger.error("%s Inspection goes on; what is found waits.", problem)
            waited = RecordedEvent("record not written", why)
            self._blocked_since = waited.utc
            self._waiting.roll.events.append(waited)
        self._blocked_s = time.monotonic()

    def _stay_in_place(self) -> None:
        """See that the path still leads to the file that is written; if not, go on in a new one there.

        Raises:
            LoomsightError: if no new one can be made now.
        """
        file = self._open_file()
        if file.is_in_place and not self._is_damaged:
            return
        rolls = self._waiting.rolls
        is_there = file.path.exists()
        new, is_carried = succeed(file, [roll.roll.roll_id for roll in rolls if roll.is_started])
        if not is_carried:
            for roll in rolls:
                roll.begin_again()
        if self._outbox is not None:
            self._outbox.collect_from(new.connection)
        self._file, self._is_damaged = new, False
        self._note_replaced("damaged or replaced" if is_there else "deleted or renamed", new, is_carried)

    def _note_replaced(self, what: str, new: RecordFile, is_carried: bool) -> None:
        utc = utc_now()
        self._replaced.append(f"The roll record {self._path} was {what} while it was written ({utc}).")
        aside = f"; what stood there is now {new.set_aside.name}" if new.set_aside else ""
        kept = "this one has the roll so far" if is_carried else "the roll before that is lost"
        logger.error("%s A new one is started: %s%s.", self._replaced[-1], kept, aside)
        event = RecordedEvent("record replaced", f"{self._path.name} was {what}: {kept}{aside}")
        self._waiting.roll.events.append(event)

    def _commit(self, file: RecordFile) -> None:
        """Write all that waits, then announce it."""
        now = self._waiting.roll
        if self._blocked_since:
            now.events.append(self._waiting.written_again(self._blocked_since))
        try:
            with file.transaction() as db:
                self._waiting.write(db)
                write_head(db, *self._audit_head())
        except DAMAGE_ERRORS:
            if self._blocked_since:
                now.events.pop()
            raise
        if self._blocked_since:
            logger.info("the roll record %s can be written again; nothing that waited is lost", self._path)
            file.wait_for_others()
        self._blocked_s, self._blocked_since, self._written_s = None, "", time.monotonic()
        for defects, events in self._waiting.written():
            self._announce(defects, events)

    def _on_roll(self, defect: ClothDefect, coverage: Coverage) -> ClothDefect:
        """Bring a defect from metres of the camera to metres of the roll."""
        shift_m = self.shift_m(coverage)
        return replace(defect, start_m=defect.start_m + shift_m, end_m=defect.end_m + shift_m)

    def _image(self, defect: ClothDefect) -> str | None:
        image = self._image_of(defect)
        return None if image is None else str(image.resolve())

    def _small_image(self, defect: ClothDefect) -> bytes | None:
        """Return a small image, unless what is found has to wait in memory, or the roll has many."""
        if self.is_blocked or self.defects_recorded >= MOST_SMALL_IMAGES:
            return None
        return self._small_image_of(defect)

    def _open_file(self) -> RecordFile:
        if self._file is None:
            raise ValueError("write to a recorder that is not open")
        return self._file

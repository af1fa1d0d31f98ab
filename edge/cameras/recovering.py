"""Open a live camera again whenever it fails, forever."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from typing_extensions import Self

from edge.cameras.continuation import Onward
from edge.cameras.frame_size import FrameSize, size_text
from edge.cameras.health import FaultKind, HealthEvent
from edge.cameras.judge import FrameJudge, Verdict, is_black
from edge.cameras.left_out import FramesLeftOut
from edge.cameras.protocol import Camera, CameraHungError, Frame, NoFrameYetError
from edge.cameras.reader import CameraReader, reader_of
from edge.core.errors import (
    CameraLostError,
    CameraNotFoundError,
    FrameSizeError,
    ImageError,
    LoomsightError,
)

logger = logging.getLogger(__name__)

WAIT_S = 0.2
"""How long a read waits before it says that there is no frame yet."""

OPEN_S = 60.0
"""A camera that is not open after this time does not answer. Network streams may take half of it."""

LONGEST_PAUSE_S = 60.0
STEADY_S = 10.0
"""Pauses between tries grow from 1 s to the longest, and start again after so long a time of health."""

MOST_BAD_FRAMES = 50
"""A live camera that gives this many unusable frames in a row is lost, or opened again. A network stream
that lost packets is whole again at its next key frame, usually within two seconds: 50 frames at 25 a
second."""

MOST_BLACK = 25
"""Black images in a row that are skipped: drivers give them while a sensor starts, and streams when
they go on. Then black is what there is to see."""

MOST_LEFT_BEHIND = 4
"""Threads that may hang in calls; a camera is not opened again before one of them comes back."""

STILL_DOWN_S = 600.0
"""A camera that stays away is told of again so often."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Say what is expected of a camera.

    Attributes:
        silent_s: no frame for so long is a failure. Of a camera paced by the cloth: no sign of life.
        frozen_s: one image again and again for so long is a failure.
        is_paced: True for a camera that gives no frame while the cloth stands.
        waits_at_start: True to wait for a camera that is not there, or does not answer, at the start.
        starts_again_at_zero: True if the positions of the camera begin at 0 whenever it is opened.
        accepts_any_size: True to go on with frames of another size, once the camera gives no others.
        is_prompt: True for a camera that is read without a thread of its own; see `Camera`.
    """

    silent_s: float = 10.0
    frozen_s: float = 10.0
    is_paced: bool = False
    waits_at_start: bool = False
    starts_again_at_zero: bool = False
    accepts_any_size: bool = False
    is_prompt: bool = False


@dataclass(slots=True)
class _Down:
    """A failure that is not over: its kind, since when, and when it was last told of."""

    kind: FaultKind
    since_s: float
    told_s: float
    tries: int = 0


class _NoAnswerError(CameraNotFoundError):
    """A camera does not open in time."""


class RecoveringCamera(Camera):
    """Deliver the good frames of a camera, and open it again when it fails. Satisfies `Camera`.

    Args:
        name: what to call the camera.
        open_camera: builds it, not yet entered; asked again for every try.
        patience: what is expected of it.
        clock: seconds of a clock that never steps.
        pause: waits for so many seconds.
    """

    is_live = True

    def __init__(
        self,
        name: str,
        open_camera: Callable[[], Camera],
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.health = self
        self._patience = patience or Patience()
        self._new_reader = partial(reader_of, open_camera, clock, is_prompt=self._patience.is_prompt)
        self._clock = clock
        self._pause = pause
        self._judge = FrameJudge(self._patience.frozen_s)
        self._onward = Onward(self._patience.starts_again_at_zero)
        self._size = FrameSize(self._patience.accepts_any_size)
        self._stop = threading.Event()
        self._reader: CameraReader | None = None
        self._left_behind: list[CameraReader] = []
        self._down: _Down | None = None
        self._events: deque[HealthEvent] = deque()
        self._counted: Counter[str] = Counter()
        self._counted_before: Counter[str] = Counter()
        self._tries = 0
        self._next_try_s = 0.0
        self._last_good_s = 0.0
        self._back_s = 0.0
        self._began_s = 0.0
        self._bad_in_a_row = 0
        self._left_out = FramesLeftOut(name)
        self._unreadable = 0
        self._knows_place: bool | None = None
        self._blacks_in_a_row = 0

    @property
    def down(self) -> FaultKind | None:
        """What is wrong with the camera at the moment; None if nothing is."""
        down = self._down  # another thread reads this
        return down.kind if down else None

    @property
    def counters(self) -> Mapping[str, int]:
        """What was counted since the start: by this object, and by the camera where it counts."""
        counted, before = (
            self._counted.copy(),
            self._counted_before.copy(),
        )  # the reader's thread adds to them
        return dict(counted + before + self._own_counters())

    def take_events(self, *, is_over: bool = False) -> list[HealthEvent]:
        """Return, once, what happened; see `HealthSource`."""
        if is_over and self._down is not None:
            away_s = self._clock() - self._down.since_s
            missed = self._missed_in(away_s)
            detail = f"{self._down.kind} for {away_s:.0f} s when the run ended"
            self._events.append(HealthEvent("camera still down", detail, away_s, missed))
        if is_over:
            self._tell_left_out(self._clock(), at_once=True)
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def ends_with(self, stop: threading.Event) -> None:
        """Wait no longer for the camera to open for the first time once an event is set."""
        self._stop = stop

    def __enter__(self) -> Self:
        self._last_good_s = self._back_s = self._clock()
        try:
            self._start()
        except (CameraNotFoundError, CameraLostError, FrameSizeError, ImageError) as error:
            if not self._patience.waits_at_start:
                raise
            self._fail(_kind_of(error), error.problem)
        return self

    def __exit__(self, *error: object) -> None:
        self._give_up()

    def read(self) -> Frame | None:
        """Return the next good frame; see `Camera.read`.

        Raises:
            ImageError: for what is no image at all, of a camera without positions: who reads counts it.
            NoFrameYetError: if there is no good frame within a moment.
        """
        reader = self._reader or self._try_again()
        try:
            frame = reader.take(WAIT_S)
        except LoomsightError as error:
            if isinstance(error, ImageError) and reader.opened_s is not None:  # of one frame
                self._note_unusable(error)
                raise
            self._fail(_kind_of(error), error.problem)
            raise NoFrameYetError from error
        if frame is None:
            if reader.has_ended:
                return None
            self._check_silence(reader)
            raise NoFrameYetError
        return self._checked(frame)

    def _note_unusable(self, error: ImageError) -> None:
        """Note what is no image at all.

        Raises:
            NoFrameYetError: if the place of the next frame will say what is missing.
        """
        self._note_bad("unusable", error.problem)
        if self._knows_place:
            self._left_out.add("unusable")
            raise NoFrameYetError from error
        self._left_out.add_unreadable()
        self._unreadable += 1

    def _checked(self, frame: Frame) -> Frame:
        """Return a good frame; note one that is not."""
        now_s = self._clock()
        verdict = self._judge.judge(frame, now_s)
        if verdict == "wrong size" and self._size.is_taken(frame):
            self._take_size(frame)
            verdict = self._judge.judge(frame, now_s)
        if verdict == "good" and self._is_seen(frame):
            return self._accept(frame, now_s)
        self._refuse(frame, "black" if verdict == "good" else verdict)
        raise NoFrameYetError

    def _is_seen(self, frame: Frame) -> bool:
        """Tell whether an image is to be believed: it shows something, or has been black for long."""
        self._blacks_in_a_row = self._blacks_in_a_row + 1 if is_black(frame.image) else 0
        return not 0 < self._blacks_in_a_row <= MOST_BLACK

    def _refuse(self, frame: Frame, verdict: Verdict | Literal["black"]) -> None:
        """Note a frame that is not to be inspected."""
        self._left_out.add(verdict)
        if verdict == "frozen":
            self._fail("frozen", f"the same image for {self._patience.frozen_s:g} s")
        elif verdict == "repeated" or verdict == "black":
            self._counted[verdict] += 1
        elif verdict == "wrong size" or verdict == "half empty":
            is_size = verdict == "wrong size"
            self._note_bad(verdict, self._of_size(frame) if is_size else "the last rows are empty")

    def _of_size(self, frame: Frame) -> str:
        """Say which size a frame has, which it should have, and what to do."""
        expected = size_text(self._judge.shape or frame.image.shape)
        return f"{size_text(frame.image.shape)} instead of {expected}. {self._size.advice(frame)}"

    def _take_size(self, frame: Frame) -> None:
        """Go on at another size: what came at it until now was not inspected, and is a gap."""
        before = size_text(self._judge.shape or frame.image.shape)
        detail = f"{size_text(frame.image.shape)} from here on, {before} until now"
        logger.warning("the camera %s goes on at another size: %s", self.name, detail)
        self._counted["new size"] += 1
        self._events.append(HealthEvent("camera size", detail))
        self._judge.take_shape(frame)

    def _accept(self, frame: Frame, now_s: float) -> Frame:
        away_s = now_s - self._last_good_s
        was_down, self._down = self._down, None
        moved = self._onward.moved(self._size.good_came(frame), now_s)
        if was_down is not None:
            self._tell_back(was_down, now_s)
        is_placed = frame.position is not None
        if self._left_out.good_came(was_down=was_down is not None, is_placed=is_placed):
            moved = replace(moved, missing_before="camera down")
        elif self._knows_place is not None:
            self._onward.note_interval(away_s)
        self._last_good_s, self._bad_in_a_row, self._unreadable = now_s, 0, 0
        self._knows_place = is_placed
        self._tell_left_out(now_s)
        return moved

    def _tell_left_out(self, now_s: float, *, at_once: bool = False) -> None:
        event = self._left_out.event(now_s, is_placed=bool(self._knows_place), at_once=at_once)
        if event is not None:
            self._events.append(event)

    def _tell_back(self, was_down: _Down, now_s: float) -> None:
        away_s = now_s - was_down.since_s
        self._counted["down_s"] += round(away_s)
        self._back_s = now_s
        how_often = f"{was_down.tries} tries" if was_down.tries != 1 else "1 try"
        detail = f"{was_down.kind} for {away_s:.1f} s, {how_often}"
        logger.warning("the camera %s is back: %s", self.name, detail)
        self._events.append(HealthEvent("camera back", detail, away_s, self._missed_in(away_s)))

    def _missed_in(self, away_s: float) -> int:
        """Estimate how many frames are missing since the last good one, but for those counted already."""
        return max(0, self._onward.frames_in(away_s) - self._unreadable)

    def _note_bad(self, kind: FaultKind, problem: str) -> None:
        self._counted[kind] += 1
        self._bad_in_a_row += 1
        opened_s = (self._reader.opened_s if self._reader else None) or self._began_s
        late = self._clock() - max(self._last_good_s, opened_s) >= self._patience.silent_s
        if self._bad_in_a_row >= MOST_BAD_FRAMES or (late and not self._patience.is_paced):
            self._fail(kind, f"{self._bad_in_a_row} such frames in a row, the last one: {problem}")

    def _check_silence(self, reader: CameraReader) -> None:
        """Call a camera late that gives no frame; one paced by the cloth only if it gives no sign."""
        now_s, opened_s = self._clock(), reader.opened_s
        if opened_s is None:
            if now_s - self._began_s >= OPEN_S:
                self._fail("hung", f"it does not open within {OPEN_S:.0f} s")
            return
        silent_s = now_s - (reader.sign_s if self._patience.is_paced else max(self._last_good_s, opened_s))
        if silent_s >= self._patience.silent_s:
            self._fail("late", f"no frame for {silent_s:.0f} s")

    def _fail(self, kind: FaultKind, problem: str) -> None:
        """Give the camera up, say so once per change of its state, and plan the next try."""
        now_s = self._clock()
        self._give_up()
        if self._down is None and now_s - self._back_s >= STEADY_S:
            self._tries = 0
        pause_s = min(LONGEST_PAUSE_S, 2.0**self._tries)
        self._next_try_s, self._tries, self._bad_in_a_row = now_s + pause_s, min(self._tries + 1, 16), 0
        down = self._down
        if down is None or down.kind != kind:
            self._counted[f"down: {kind}"] += 1
            since_s = down.since_s if down else self._last_good_s
            self._down = _Down(kind, since_s, now_s, down.tries if down else 0)
            logger.warning("the camera %s is down: %s: %s", self.name, kind, problem)
            self._events.append(HealthEvent("camera down", f"{kind}: {problem}"))
        elif now_s - down.told_s >= STILL_DOWN_S:
            down.told_s = now_s
            logger.warning("the camera %s is down for %.0f s: %s", self.name, now_s - down.since_s, problem)

    def _try_again(self) -> CameraReader:
        """Wait a moment for the next try, or make it.

        Raises:
            NoFrameYetError: if it is not yet time, or there is still no camera.
        """
        now_s = self._clock()
        self._left_behind = [reader for reader in self._left_behind if reader.is_stuck]
        if now_s < self._next_try_s or len(self._left_behind) >= MOST_LEFT_BEHIND:
            self._pause(min(WAIT_S, max(self._next_try_s - now_s, 0.01)))
            raise NoFrameYetError
        if self._down is not None:
            self._down.tries += 1
        self._counted["opened again"] += 1
        self._reader, self._began_s = self._new_reader(), now_s
        self._onward.begin_again()
        return self._reader

    def _start(self) -> None:
        """Open the camera for the first time.

        Raises:
            LoomsightError: if that fails.
        """
        self._reader, self._began_s = self._new_reader(), self._clock()
        until_s = time.monotonic() + OPEN_S
        while not self._reader.wait_open(WAIT_S):
            if self._stop.is_set():
                return
            if time.monotonic() >= until_s:
                self._give_up()
                raise _NoAnswerError(
                    f"The camera {self.name} does not open within {OPEN_S:.0f} s.",
                    "Check its cable and power.",
                )

    def _give_up(self) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        self._counted_before += _counters_of(reader.camera)
        reader.leave()
        if reader.is_stuck:
            self._left_behind.append(reader)

    def _own_counters(self) -> Counter[str]:
        return _counters_of(self._reader.camera) if self._reader else Counter()


def _counters_of(camera: Camera | None) -> Counter[str]:
    return Counter(getattr(camera, "counters", None) or {})


def _kind_of(error: LoomsightError) -> FaultKind:
    if isinstance(error, CameraHungError | _NoAnswerError):
        return "hung"
    return "wrong size" if isinstance(error, FrameSizeError) else "unplugged"

"""Judge whether a run is well: frames are finished, or the loom is known to be stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.decisions.stops import Stops
from edge.pipeline.run_state import RunSnapshot, RunState
from edge.process.supervised import Helpers
from edge.reference.watch import BEGIN, DRIFT, OTHER_ARTICLE

if TYPE_CHECKING:
    from edge.mqtt.publisher import Publisher


@dataclass(frozen=True, slots=True)
class HealthVerdict:
    """Say whether a run is well.

    Attributes:
        is_well: frames are finished, or the loom is known to stand.
        reasons: why it is not.
        warnings: what is wrong beside that, and does not keep it from inspecting.
    """

    is_well: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Health:
    """Follow a run. Written by the thread that inspects, read by others.

    Args:
        frame_s: a run that finishes no frame for so long is not well.
        stops: of the run; they know whether the machine stands. None if nothing is decided.
        publisher: of the run; None if nothing is sent.
        record_is_blocked: tells whether the roll record cannot be written.
        clock: monotonic seconds.
    Attributes:
        snapshot: how the run stood a moment ago; None before the first frame. The page shows the same one.
        silent_s: seconds since the last frame came, while none comes.
        failure: what ended it for good, where others go on; None if nothing did.
        is_over: no more frames are to come, and nobody waits for one.
        helpers: threads beside inspection. A dead one is a reason; one that met an error, a warning.
        heartbeat_is_lost: whether the machine does not take what tells it that inspection goes on.
    """

    def __init__(
        self,
        frame_s: float,
        stops: Stops | None = None,
        publisher: Publisher | None = None,
        record_is_blocked: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frame_s = frame_s
        self.stops = stops
        self.publisher = publisher
        self.silent_s = 0.0
        self.snapshot: RunSnapshot | None = None
        self.failure: str | None = None
        self.is_over = False
        self.helpers = Helpers(clock)
        self.heartbeat_is_lost = False
        self._record_is_blocked = record_is_blocked
        self._record_replaced: Callable[[], str | None] = lambda: None
        self._audit_problem: Callable[[], str | None] = lambda: None
        self._clock = clock
        self._start_s = clock()
        self._finished_s: float | None = None

    def attach(
        self,
        stops: Stops | None,
        publisher: Publisher | None,
        record_is_blocked: Callable[[], bool],
        record_replaced: Callable[[], str | None] = lambda: None,
        audit_problem: Callable[[], str | None] | None = None,
    ) -> None:
        """Take in what is known once the model is open.

        Args:
            record_replaced: says what became of the roll record while it was written; None if nothing did.
            audit_problem: says why the audit log cannot be written; None if it can.
        """
        self.stops, self.publisher = stops, publisher
        self._record_is_blocked, self._record_replaced = record_is_blocked, record_replaced
        self._audit_problem = audit_problem or self._audit_problem

    def update(self, state: RunState, detections: object) -> None:
        """Take in one finished frame, or the silence of the camera; an observer of the pipeline."""
        self.snapshot, self.silent_s = state.snapshot(time.monotonic()), state.silent_s
        if not state.silent_s and state.last_frame is not None:
            self._finished_s = self._clock()

    def end(self, state: RunState) -> None:
        """Take in how the run ended, if it had started."""
        if self.snapshot is not None:
            self.snapshot = state.snapshot()

    @property
    def finished_s(self) -> float | None:
        """When the last frame was finished; None before the first."""
        return self._finished_s

    @property
    def loom_stands(self) -> bool:
        """Whether the loom is known to stand."""
        return self.stops is not None and self.stops.stands

    @property
    def idle_s(self) -> float:
        """Seconds since the last finished frame, or since the start."""
        return self._clock() - (self._start_s if self._finished_s is None else self._finished_s)

    def verdict(self) -> HealthVerdict:
        """Judge the run as it is now."""
        reasons = []
        if self.idle_s > self.frame_s and not self.loom_stands and not self.is_over:
            since = "since the start" if self._finished_s is None else f"for {self.idle_s:.0f} s"
            reasons.append(f"no frame was finished {since}; {self.frame_s:g} s are permitted")
        error = self.failure or (self.snapshot.error if self.snapshot else None)
        if error is not None:
            reasons.append(error)
        reasons += [f"the helper thread '{name}' is dead" for name in self.helpers.dead]
        return HealthVerdict(not reasons, tuple(reasons), tuple(self._warnings()))

    def as_json(self) -> dict[str, Any]:
        """Return the answer of `/healthz`."""
        verdict, run = self.verdict(), self.snapshot
        return {
            "ok": verdict.is_well,
            "reasons": list(verdict.reasons),
            "warnings": list(verdict.warnings),
            "loom_stands": self.loom_stands,
            "idle_s": round(self.idle_s, 3),
            "frames": run.total.frames_inspected if run else 0,
            "teaching": run.teaching.as_json() if run and run.teaching else None,
        }

    @property
    def broker_is_away(self) -> bool:
        """Whether messages wait because the broker cannot be reached."""
        return self.publisher is not None and self.publisher.is_connected is False

    @property
    def broker_refuses(self) -> bool:
        """Whether messages wait or are set aside though the broker is there."""
        return self.publisher is not None and bool(self.publisher.warnings())

    @property
    def _why_away(self) -> str | None:
        return self.publisher.why_away if self.publisher else None

    @property
    def machine_is_away(self) -> bool:
        """Whether the machine cannot be reached, and so not be stopped."""
        delivery = self.stops.delivery if self.stops else None
        return delivery is not None and delivery.is_reachable is False

    @property
    def record_replaced(self) -> str | None:
        """What became of the roll record while it was written; None if nothing did."""
        return self._record_replaced()

    @property
    def audit_problem(self) -> str | None:
        """Why the audit log cannot be written; None if it can."""
        return self._audit_problem()

    def _warnings(self) -> list[str]:
        run = self.snapshot
        down = run.camera_down if run else None
        found = {
            f"the camera is down: {down}": down is not None,
            "the roll record cannot be written": self._record_is_blocked(),
            f"{self.record_replaced} A new one is written.": self.record_replaced is not None,
            f"{self.audit_problem} Its entries wait.": self.audit_problem is not None,
            "the machine cannot be reached": self.machine_is_away,
            "the machine does not take the heartbeat": self.heartbeat_is_lost,
            f"the broker cannot be reached: {self._why_away}": self.broker_is_away,
        }
        warnings = [warning for warning, is_so in found.items() if is_so]
        warnings += self.publisher.warnings() if self.publisher else []
        warnings += cloth_warnings(run) if run is not None else []
        unwell = self.helpers.unwell.items()
        return warnings + [f"'{name}' failed and goes on: {why}" for name, why in unwell]


CURES: Final = {
    OTHER_ARTICLE: "the cloth is unlike the article that was taught: check the article of the roll, lamp "
    "and focus, or teach it again",
    DRIFT: "the cloth comes nearer to an alarm than when it was taught: clean the lens, check lamp and "
    "tension, or teach the article again",
}
"""What is said of cloth that is unlike what was taught, with the cure."""


def cloth_warnings(run: RunSnapshot) -> list[str]:
    """Return what is wrong with the cloth, or with what was taught of it, at the moment."""
    found = [CURES[kind] for kind in run.cloth_troubles]
    found += [f"{kind}: check lamp and lens" for kind in run.optics_troubles]
    if run.recognised is not None:
        found.append(f"the cloth looks like article '{run.recognised}', which was taught: {BEGIN}")
    return found


Healths = Mapping[str | None, Health]
"""The cameras of a device by name; None is the name of the only one."""


def healthz(cameras: Healths) -> dict[str, Any]:
    """Return the answer of `/healthz`; of several cameras the worst of all, and each by its name."""
    only = cameras.get(None)
    if only is not None:
        return only.as_json()
    answers = {str(name): health.as_json() for name, health in cameras.items()}
    return {
        "ok": all(answer["ok"] for answer in answers.values()),
        "reasons": _named(answers, "reasons"),
        "warnings": _named(answers, "warnings"),
        "cameras": answers,
    }


def _named(answers: Mapping[str, Mapping[str, Any]], key: str) -> list[str]:
    return [f"{name}: {text}" for name, answer in answers.items() for text in answer[key]]

"""Hold the state of a run at one moment, as a value that other threads may read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge.cameras.protocol import GAP_REASONS
from edge.cloth.coverage import GapOnRoll
from edge.cloth.defects import ClothDefect
from edge.cloth.sums import CoverageSums
from edge.core.latency import LatencyQuantiles
from edge.page.grade import GradeSoFar
from edge.pipeline.run_state import RunSnapshot

Phase = Literal["starting", "running", "ended"]

WINDOW_S = 5.0
"""Speed and rate are those of the last seconds: a loom that stops shows it, one late frame does not."""


DEFECTS_S = 60.0
"""So long a defect is news: an operator who looks up sees that there was one."""


class RunCounts(NamedTuple):
    """Hold the counts of a run up to a moment."""

    at_s: float
    frames: int
    without_cloth: int
    dropped: int
    unreadable: int
    lost_lines: int
    along_m: float
    defects: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Say how a run stands.

    Attributes:
        taken_s: `time.monotonic()`.
        run: what health and metrics are told, too.
        along_m: place on the roll of the last line that was looked at; None if not known.
        speed_m_min: of the cloth; negative where it runs back.
        recent: what the last seconds added to the counts.
        helpers_dead, helpers_unwell: threads beside inspection that ended, or met an error, by name.
        defects, gaps: of this run, for a page without a roll record; empty beside one.
        defects_before: how many came before those and are no longer kept.
        origin_m: place on the roll of this run's metre 0.
        grade: of the roll so far; None before it is known.
        new_defects: defects of the last `DEFECTS_S`; boxes, where no position is known.
        heartbeat_lost: whether the machine does not take what tells it that inspection goes on.
        is_live: whether the camera keeps the pace of the cloth.
        unwell: why `/healthz` says that the run is not well.
        error: why there is no run, or no more of it.
    """

    phase: Phase
    taken_s: float
    recent: RunCounts
    run: RunSnapshot
    frames_per_s: float = 0.0
    along_m: float | None = None
    speed_m_min: float | None = None
    length_m: float = 0.0
    defect_count: int = 0
    latency_ms: LatencyQuantiles | None = None
    age_ms: LatencyQuantiles | None = None
    record_waits: bool = False
    audit_waits: bool = False
    record_replaced: bool = False
    broker_away: bool = False
    broker_refuses: bool = False
    machine_away: bool = False
    helpers_dead: tuple[str, ...] = ()
    helpers_unwell: tuple[str, ...] = ()
    error: str | None = None
    defects: tuple[ClothDefect, ...] = ()
    defects_before: int = 0
    gaps: tuple[GapOnRoll, ...] = ()
    origin_m: float = 0.0
    grade: GradeSoFar | None = None
    new_defects: int = 0
    heartbeat_lost: bool = False
    unwell: tuple[str, ...] = ()
    is_live: bool = False


class Recent:
    """Remember the counts of the last seconds.

    Args:
        window_s: how many.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._kept: deque[RunCounts] = deque()

    def add(self, now: RunCounts) -> RunCounts:
        """Take in counts; returns how much they grew, and over which time."""
        self._kept.append(now)
        while len(self._kept) > 2 and now.at_s - self._kept[1].at_s >= self._window_s:
            self._kept.popleft()
        return RunCounts._make(last - first for last, first in zip(now, self._kept[0], strict=True))


def counts_of(run: RunSnapshot) -> RunCounts:
    """Return what a run has counted."""
    return RunCounts(
        run.taken_s,
        run.total.frames_inspected,
        run.total.frames_without_cloth,
        run.dropped,
        run.unreadable,
        run.total.gap_lines("lost lines"),
        run.along_m,
        sum((run.defects_by_class if run.total.knows_metres else run.detections_by_class).values()),
    )


def gaps_by_reason_m(roll: CoverageSums) -> dict[str, float] | None:
    """Return the metres of each reason that there was; None where no position is known."""
    if not roll.knows_metres:
        return None
    metres = {reason: roll.gap_metres(reason) for reason in GAP_REASONS}
    return {reason: round(length, 3) for reason, length in metres.items() if length}

"""How a run stands at a moment, for other threads: copied by the one that inspects, and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.cameras.health import FaultKind
from edge.cloth.sums import CoverageSums
from edge.cloth.width import Across
from edge.core.latency import LatencyHistogram
from edge.roll.values import RollTerms
from edge.teach.values import TeachingNow

SNAPSHOT_S = 0.25
"""A snapshot costs a tenth of a millisecond; so often a person sees numbers change."""


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """Say how a run stands; see `edge.pipeline.run_state.RunState`.

    Attributes:
        taken_s: `time.monotonic()`.
        total: sums of all rolls of this run; `roll`: of the one that passes.
        terms: of that roll; `roll_number`: of it in this run, from 1.
        defects_by_class: complete ones, of all rolls.
        roll_defects: complete ones of the roll that passes.
        reached_m: how far the roll has come, in metres from its first line.
        along_m: place of the last line that was looked at, in metres of the camera; 0 if not known.
        across: how much of the width of the cloth is seen.
    """

    taken_s: float
    total: CoverageSums
    roll: CoverageSums
    terms: RollTerms
    roll_number: int
    rolls_ended: int
    defects_by_class: Mapping[str, int]
    roll_defects: int
    detections_by_class: Mapping[str, int]
    dropped: int
    unreadable: int
    reached_m: float
    along_m: float
    across: Across
    latency: LatencyHistogram
    age: LatencyHistogram
    silent_s: float
    waiting_frames: int
    camera_down: FaultKind | None
    camera_counters: Mapping[str, int]
    cloth_troubles: tuple[str, ...]
    recognised: str | None
    teaching: TeachingNow | None
    error: str | None

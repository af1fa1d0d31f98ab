"""Say in the words of OPC 40100-1 how a run stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from edge.page.live import LivePage

Machine = Literal["Preoperational", "Operational", "Error", "Halted"]
Mode = Literal["Initialized", "Ready", "SingleExecution", "ContinuousExecution"]

MACHINE_NUMBERS: Final[dict[Machine, int]] = {
    "Preoperational": 1,
    "Halted": 2,
    "Error": 3,
    "Operational": 4,
}
MODE_NUMBERS: Final[dict[Mode, int]] = {
    "Initialized": 1,
    "Ready": 2,
    "SingleExecution": 3,
    "ContinuousExecution": 4,
}
"""Numbers of the states; `SingleExecution` is there for clients that look for it, and is never entered."""


@dataclass(frozen=True, slots=True)
class VisionState:
    """Name a state.

    Attributes:
        machine: of the vision state machine.
        mode: of the automatic mode; None unless `Operational`.
        reason: what is wrong; empty if nothing is.
    """

    machine: Machine
    mode: Mode | None = None
    reason: str = ""


def state_of(live: LivePage, *, has_job: bool) -> VisionState:
    """Return how the run of a camera stands.

    Args:
        live: what the run tells.
        has_job: whether the roll on the loom is a job.
    """
    now = live.snapshot
    if now.phase == "ended":
        wrong = now.error or live.health.failure
        return VisionState("Error", reason=wrong) if wrong else VisionState("Halted")
    if live.changes is None:
        return VisionState("Preoperational")
    if now.phase == "starting":
        return VisionState("Operational", "Initialized")
    reasons = list(live.health.verdict().reasons)
    if now.run.camera_down is not None:
        reasons.append(f"the camera is down: {now.run.camera_down}")
    if reasons:
        return VisionState("Error", reason="; ".join(reasons))
    return VisionState("Operational", "ContinuousExecution" if has_job else "Ready")

"""Plan one step of a pruning from its target and the progress of the steps before."""

from __future__ import annotations

from pathlib import Path

from distill.checkpoint import Detector, count_macs, weights_digest
from distill.prune.apply import cut
from distill.prune.importance import ImportanceName, Scores
from distill.prune.latency import plans_for_time
from distill.prune.plan import PlannerName, PruningPlan, plan_for_macs, read_plan
from distill.prune.settings import STEP_FRACTION, PruneSettings
from edge.core.errors import ConfigError


def plans_of_step(
    detector: Detector, settings: PruneSettings, table: Path, *, source_macs: int, steps_left: int
) -> tuple[PruningPlan, ...]:
    """Plan this step in every way that the settings leave open; the first is that of the defaults.

    Each step takes the same fraction: of the way from `detector` to the target, its root of `steps_left`,
    so that the last one ends at the target.

    Args:
        detector: as the step before left it.
        table: file of the times of detectors; with a target in milliseconds it is written.
        source_macs: MACs of the detector before the first step: fractions are of these.
        steps_left: this one among them, from 1.
    Raises:
        ConfigError: if the target is out of reach, or the plan given is missing or of another detector.
    """
    if settings.plan is not None:
        return (_given_plan(detector, Path(settings.plan)),)
    if settings.latency_ms is not None:
        return plans_for_time(detector, settings, settings.latency_ms, table, steps_left)
    if settings.macs is not None:
        fraction = min(1.0, settings.macs * source_macs / macs_of(detector)) ** (1 / steps_left)
    else:
        fraction = STEP_FRACTION
    return _plans_for_macs(detector, settings, fraction)


def _plans_for_macs(
    detector: Detector, settings: PruneSettings, fraction: float
) -> tuple[PruningPlan, ...]:
    """Plan for a fraction of the MACs; ways whose rounding cannot reach it are left out.

    Raises:
        ConfigError: if none can; it is that of the defaults.
    """
    plans, refused = [], []
    scores: dict[tuple[PlannerName, ImportanceName], Scores] = {}
    for planner, options in settings.choices():
        try:
            plan = plan_for_macs(
                detector.module,
                detector.checkpoint.structure,
                fraction,
                input_size_hw_px=detector.contract.input_size_hw_px,
                options=options,
                planner=planner,
                known_scores=scores,
            )
        except ConfigError as error:
            refused.append(error)
        else:
            plans.append(plan)
    if not plans:
        raise refused[0]
    return tuple(plans)


def macs_of(detector: Detector) -> int:
    """Count the MACs of one input."""
    return count_macs(detector.module, (detector.contract.channels, *detector.contract.input_size_hw_px))


def _given_plan(detector: Detector, file: Path) -> PruningPlan:
    plan = read_plan(file)
    if plan.source_digest != weights_digest(detector.module.state_dict()):
        cut(detector.module, detector.checkpoint.structure, plan)  # of another structure: says so
        raise ConfigError(
            f"The plan {file} was made for other weights of this structure.",
            "Use it with the checkpoint it was made from, or make a new plan.",
        )
    return plan

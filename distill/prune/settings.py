"""Define the settings of `prune`; they stand in `prune.json` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, Final, Literal, NamedTuple, get_args

from pydantic import Field, model_validator
from typing_extensions import Self

from distill.core.value import FiniteValue, Value, read_kept
from distill.prune.folder import PruneFolder
from distill.prune.importance import ImportanceName
from distill.prune.plan import PlannerName, PlanOptions, Rounding
from distill.prune.search import ScopeName
from edge.backends.registry import BackendName
from edge.core.errors import CheckpointError, ConfigError
from edge.core.settings import resolved

Recovery = Literal["labels", "teacher", "self"]

STEPS_TO_A_DROP = 8
"""With --drop, so many cuts at most; each leaves `STEP_FRACTION` of the MACs before it."""

STEP_FRACTION = 0.8
"""Eight of them would leave a sixth."""

COMMAND_LINE = "the command line"

PLANNERS: Final[tuple[PlannerName, ...]] = ("depgraph", "threshold")
IMPORTANCES: Final[tuple[ImportanceName, ...]] = ("l1", "bn-scale")
SCOPES: Final[tuple[ScopeName, ...]] = get_args(ScopeName)
ROUNDINGS: Final[tuple[Rounding, ...]] = (16, 32)
"""What is tried where nothing is named, the default first."""


class PlanChoice(NamedTuple):
    """Say who chooses the channels, and how."""

    planner: PlannerName
    options: PlanOptions


class AskedOptions(Value):
    """Say how channels are to be chosen; see `PlanOptions`. None leaves it to the comparison of plans."""

    importance: ImportanceName | None = None
    scope: ScopeName | None = None
    round_to: Rounding | None = None


class PruneSettings(FiniteValue):
    """State all that decides what a pruning gives, apart from checkpoint and data.

    Attributes:
        macs: fraction of the MACs that is to be left.
        latency_ms: time of one input on `runtime` that is to be reached.
        runtime, threads: what times are measured on; None takes all cores.
        drop: points of mAP50-95 that may be lost, at most.
        plan: file of a plan that is to be carried out again.
        planner: who chooses the channels, and `options` how; None leaves it to the comparison of plans.
        steps: cuts, each with a recovery; None for one, or with `drop` for `STEPS_TO_A_DROP` at most.
        recover: what is learnt from in a recovery: the labels; a teacher, too; or the detector as it was
            before the pruning as that teacher. None takes a teacher where there is one, else that detector.
        teacher: checkpoint, where a recovery has a teacher.
        recipe, epochs, seed: of a recovery, as they were given; None takes the checkpoint's.
    """

    macs: float | None = Field(default=None, gt=0, lt=1)
    latency_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    runtime: BackendName = "onnxruntime"
    threads: int | None = Field(default=None, ge=1, le=1024)
    drop: float | None = Field(default=None, gt=0, le=100)
    plan: str | None = None
    planner: PlannerName | None = None
    options: AskedOptions = AskedOptions()
    steps: int | None = Field(default=None, ge=1, le=100)
    recover: Recovery | None = None
    teacher: str | None = None
    recipe: str | None = None
    epochs: int | None = Field(default=None, ge=1, le=100_000)
    seed: int | None = Field(default=None, ge=0)

    @property
    def most_steps(self) -> int:
        """How many cuts are made, at most."""
        return self.steps or (STEPS_TO_A_DROP if self.drop is not None else 1)

    def choices(self) -> tuple[PlanChoice, ...]:
        """Return every way to choose channels that was left open, that of the defaults first.

        With a time as the target one way is left: its roundings are compared.
        """
        options = self.options
        axes = (
            (self.planner,) if self.planner else PLANNERS,
            (options.importance,) if options.importance else IMPORTANCES,
            (options.scope,) if options.scope else SCOPES,
            (options.round_to,) if options.round_to else ROUNDINGS,
        )
        ways = tuple(
            PlanChoice(planner, PlanOptions(importance=importance, scope=scope, round_to=round_to))
            for planner, importance, scope, round_to in product(*axes)
        )
        return ways if self.latency_ms is None else ways[:1]

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        targets = [self.macs, self.latency_ms, self.drop, self.plan]
        if sum(target is not None for target in targets) != 1:
            raise ValueError("name exactly one of --macs, --latency-ms, --drop and --plan")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.recover == "teacher") != (self.teacher is not None):
            raise ValueError("--recover teacher and --teacher CHECKPOINT belong together")
        if self.plan is not None and self.most_steps > 1:
            raise ValueError("--plan is one cut: leave --steps out")
        return self


def new_settings(given: Mapping[str, Any]) -> PruneSettings:
    """Check what was asked for; a teacher that is named is recovered under.

    Args:
        given: by field name, `options` by field name in it; without what was not given.
    Raises:
        ConfigError: if a value is not permitted, or some exclude each other.
    """
    named = {"recover": "teacher"} if "teacher" in given else {}
    return resolved(PruneSettings, {COMMAND_LINE: {**named, **given}})


def kept_settings(folder: PruneFolder, given: Mapping[str, Any]) -> PruneSettings:
    """Read the settings of a run that goes on; what is given may repeat them, but not change them.

    Raises:
        CheckpointError: if there is no run, or its settings are damaged.
        ConfigError: if the run is asked to change.
    """
    if not folder.settings.is_file():
        raise CheckpointError(
            f"There is no pruning in {folder.path} to go on with.", "Leave --resume out to start one."
        )
    kept = read_kept(PruneSettings, folder.settings)
    flat = {**given, **given.get("options", {})}
    values = {**kept.model_dump(), **kept.options.model_dump()}
    for key in (key for key in flat if key != "options"):
        if flat[key] != values[key]:
            raise ConfigError(
                f"The run in {folder.path} has {key} = {values[key]!r}, not {flat[key]!r}.",
                "A resumed run keeps its settings: leave the others out.",
            )
    return kept

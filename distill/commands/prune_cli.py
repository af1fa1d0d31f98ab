"""Run the `prune` command: make a smaller detector of a trained one."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from distill.commands.options import (
    DeviceChoice,
    ResumeFlag,
    TaxonomyFlag,
    TrainingDeviceFlag,
    leave_interrupted,
    new_app,
)
from distill.core.run_folder import PRUNING_NAME
from distill.core.stopping import kept_where, said_when_stopped
from edge.backends.registry import BACKENDS
from edge.core.errors import ConfigError
from edge.core.taxonomy import Taxonomy, load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo

if TYPE_CHECKING:
    from distill.checkpoint import Detector
    from distill.prune.folder import PruneFolder
    from distill.prune.plan import PruningPlan
    from distill.prune.settings import PruneSettings
    from distill.settings.recipe import Recipe

    RuntimeChoice = str
else:
    RuntimeChoice = Enum("RuntimeChoice", {name: name for name in BACKENDS}, type=str)

DEFAULT_OUT = Path("runs") / "pruned"


class PlannerChoice(str, Enum):
    """Name a planner, which chooses the channels."""

    threshold = "threshold"
    depgraph = "depgraph"


class ImportanceChoice(str, Enum):
    """Name a measure of the importance of a channel."""

    bn_scale = "bn-scale"
    l1 = "l1"


class ScopeChoice(str, Enum):
    """One threshold for all layers, or the same fraction of each."""

    everywhere = "global"
    each_layer = "local"


class RecoverChoice(str, Enum):
    """Name the source that a recovery learns from."""

    labels = "labels"
    teacher = "teacher"
    itself = "self"


app = new_app()


@app.command()
@said_when_stopped(kept_where(PRUNING_NAME))
def prune(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A best.pt; it is only read.")],
    dataset: Annotated[
        Path | None,
        typer.Argument(metavar="DATASET", help="Folder with data.yaml, to recover and measure on."),
    ] = None,
    macs: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Target: fraction of the MACs to keep.")
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option(metavar="MS", help="Target: time of one input, measured on --runtime.")
    ] = None,
    runtime: Annotated[
        RuntimeChoice | None, typer.Option(help="What times are measured on.  [default: onnxruntime]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of --runtime, on the processor.  [default: all cores]")
    ] = None,
    drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS", help="Target: cut step by step until more mAP50-95 than this would be lost."
        ),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Target: carry this plan out again.")
    ] = None,
    planner: Annotated[
        PlannerChoice | None,
        typer.Option(help="Who chooses the channels.  [default: what is best after the cut]"),
    ] = None,
    importance: Annotated[
        ImportanceChoice | None,
        typer.Option(help="What is measured of a channel.  [default: as --planner]"),
    ] = None,
    scope: Annotated[
        ScopeChoice | None,
        typer.Option(
            help="One threshold for all layers, or the same fraction of each.  [default: as --planner]"
        ),
    ] = None,
    round_to: Annotated[
        int | None,
        typer.Option(
            metavar="8|16|32", help="Channels are multiples of this.  [default: 16 or 32, as --planner]"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Cuts, each with a recovery.  [default: 1; with --drop 8 at most]"),
    ] = None,
    recover: Annotated[
        RecoverChoice | None,
        typer.Option(
            help="Learn from the labels, a teacher or, self, the detector as it was.  "
            "[default: teacher, if --teacher names one or CHECKPOINT was trained under one; else self]"
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="To recover under.  [default: the one CHECKPOINT had]"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="How to recover.  [default: the checkpoint's own, with a third of its epochs]"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of each recovery; overrides the recipe.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = DEFAULT_OUT,
    resume: ResumeFlag = False,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Print and write the plan; train nothing.")
    ] = False,
    device: TrainingDeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Make a trained detector smaller: choose channels, cut them out, train on until it has recovered.

    Name one target: --macs, --latency-ms, --drop or --plan. The run folder then holds best.pt, the plan
    and the cut of each step, scorecard.jsonl and index.html, the page of the run. The same command with
    --resume goes on after Ctrl-C or a kill.
    """
    configure_logging()
    options = {"importance": importance, "scope": scope, "round_to": round_to}
    given = {
        "macs": macs, "latency_ms": latency_ms, "runtime": runtime, "threads": threads, "drop": drop,
        "plan": plan, "planner": planner, "steps": steps, "recover": recover, "teacher": teacher,
        "recipe": recipe, "epochs": epochs, "seed": seed, "options": _given(options) or None,
    }  # fmt: skip
    # Imports stand here because torch takes seconds: --help is answered without it.
    from distill.core.run_folder import held, way_on_said
    from distill.prune.folder import PruneFolder
    from distill.prune.settings import kept_settings, new_settings

    folder = PruneFolder(out)
    if plan_only:
        asked = new_settings(_given(given))
        with held(folder.path):
            _only_plan(checkpoint, asked, folder)
        return
    settings = kept_settings(folder, _given(given)) if resume else new_settings(_given(given))
    if dataset is None:
        raise ConfigError(
            "A recovery needs a data set.", "Name its folder behind the checkpoint, or add --plan-only."
        )
    try:
        with held(folder.path), way_on_said(folder.way_on):
            is_done = _prune(checkpoint, dataset, settings, folder, resume, device, load_taxonomy(taxonomy))
    except KeyboardInterrupt:  # between two trainings: all that is done stands in the folder
        if not folder.settings.is_file():
            raise
        is_done = False
    if not is_done:
        leave_interrupted(folder.path)
    _print_result(folder, dataset, taxonomy)


def _prune(
    checkpoint: Path,
    dataset: Path,
    settings: PruneSettings,
    folder: PruneFolder,
    resume: bool,
    device: DeviceChoice,
    classes: Taxonomy,
) -> bool:
    """See that all that is asked for is there before anything is written, then prune."""
    from distill.checkpoint import load_detector
    from distill.core.precision import choose_device
    from distill.data.dataset import load_dataset
    from distill.gid.teacher import load_teacher
    from distill.prune.steps import Pruning, check_source, prune
    from distill.prune.teacher_at_hand import with_teacher_at_hand
    from distill.training.stage_plan import kept_recipe

    detector = load_detector(checkpoint)
    _check_classes(checkpoint, detector, classes)
    data = load_dataset(dataset, classes)
    if not resume:
        settings = with_teacher_at_hand(settings, checkpoint, detector.contract)
    if settings.teacher is not None:
        load_teacher(Path(settings.teacher), detector.contract)
    chosen_device = choose_device(device.value)
    plans: tuple[PruningPlan, ...] = ()
    if resume:
        check_source(folder, checkpoint)
        recipe = kept_recipe(folder)
    else:
        recipe, plans = _open_new(checkpoint, detector, settings, folder)
    _say_if_pruned(checkpoint, detector)
    return prune(Pruning(settings, folder, checkpoint, recipe, data, classes, chosen_device, plans))


def _open_new(
    checkpoint: Path, detector: Detector, settings: PruneSettings, folder: PruneFolder
) -> tuple[Recipe, tuple[PruningPlan, ...]]:
    """Plan the first step, which shows whether the target can be reached, then make the folder.

    Returns:
        The recipe of each recovery, and the plans of the first step.
    """
    from distill.prune.planning import macs_of, plans_of_step
    from distill.prune.recover import recovery_recipe
    from distill.prune.steps import write_source

    folder.check_free()
    recipe = recovery_recipe(detector.checkpoint, settings, os.environ)
    source_macs = macs_of(detector)
    plans = plans_of_step(
        detector, settings, folder.latency_table, source_macs=source_macs, steps_left=settings.most_steps
    )
    folder.open_new()
    write_source(folder, checkpoint)
    folder.write_json(folder.recipe, recipe.model_dump(mode="json"))
    folder.write_json(folder.settings, settings.model_dump(mode="json"))
    return recipe, plans


def _only_plan(checkpoint: Path, settings: PruneSettings, folder: PruneFolder) -> None:
    """Choose the channels of one cut, print and write them."""
    from distill.checkpoint import load_detector
    from distill.prune.plan import write_plan
    from distill.prune.planning import macs_of, plans_of_step
    from distill.prune.report import layer_rows, print_plan, write_chart
    from edge.core.files import check_writable
    from edge.process.whole_table import wide_console

    if settings.most_steps > 1:
        raise ConfigError(
            "--plan-only plans one cut: what comes after depends on how it recovers.",
            "Leave --steps out, and name --macs instead of --drop.",
        )
    detector = load_detector(checkpoint)
    _say_if_pruned(checkpoint, detector)
    check_writable(folder.path)
    plan = plans_of_step(
        detector, settings, folder.latency_table, source_macs=macs_of(detector), steps_left=1
    )[0]
    write_plan(plan, folder.only_plan)
    rows = layer_rows(detector.module, plan)
    write_chart(plan, rows, folder.chart)
    print_plan(plan, rows, wide_console())
    echo(f"plan   {folder.only_plan}\nchart  {folder.chart}")


def _check_classes(checkpoint: Path, detector: Detector, classes: Taxonomy) -> None:
    if detector.contract.class_names != classes.classes:
        raise ConfigError(
            f"{checkpoint} knows the classes {', '.join(detector.contract.class_names)}; the taxonomy has "
            f"{', '.join(classes.classes)}.",
            "Name the taxonomy it was trained with by --taxonomy.",
        )


def _say_if_pruned(checkpoint: Path, detector: Detector) -> None:
    if detector.checkpoint.structure.widths is not None:
        echo(f"{checkpoint} is pruned already: fractions are of what it is now.", err=True)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was not given; choices and paths become text."""
    plain = {key: value.value if isinstance(value, Enum) else value for key, value in flags.items()}
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in plain.items()
        if value is not None
    }


def _print_result(folder: PruneFolder, dataset: Path, taxonomy: Path | None) -> None:
    from distill.core.next_command import export_command
    from distill.evaluation.scorecard import read_rows
    from distill.prune.outcome import outcome
    from distill.prune.stage_times import print_times, read_times
    from distill.training.comparison import print_comparison
    from edge.core.files import file_digest
    from edge.process.whole_table import wide_console

    echo(f"checkpoint  {folder.best}\nscorecard   {folder.scorecard}\npage        {folder.page}")
    console = wide_console()
    rows = read_rows(folder.scorecard)
    print_comparison(rows, console)
    print_times(read_times(folder.latency), console)
    bundle = folder.path / "bundle"
    command = export_command(folder.best, dataset, bundle, taxonomy=taxonomy, int8=True)
    echo(f"result      {outcome(rows, file_digest(folder.best))}")
    echo(f"next        {command}")


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()

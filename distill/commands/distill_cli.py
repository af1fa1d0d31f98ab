"""Run the `distill` command: train a detector on a data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from distill.commands.given_options import GivenOptions, given_options
from distill.commands.options import (
    DatasetArgument,
    DeviceChoice,
    ResumeFlag,
    TaxonomyFlag,
    TrainingDeviceFlag,
    leave_interrupted,
    new_app,
)
from distill.core.run_folder import RunFolder
from distill.core.stopping import said_when_stopped, stopped_words
from edge.core.errors import ConfigError
from edge.core.taxonomy import Taxonomy, load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo

if TYPE_CHECKING:
    from distill.core.processes import Processes
    from distill.data.dataset import Dataset
    from distill.operating_point.reports import ImageReports
    from distill.settings.recipe import Recipe
    from distill.training.stage_plan import StagePlan
    from distill.training.stages import Stage

DEFAULT_RECIPE = "smoke"

NOT_REPEATED = ("out", "resume", "start_from", "epochs")
"""Options that differ in the command that trains longer."""


def _folder_of(out: Path | None, recipe: str | None) -> RunFolder:
    return RunFolder(out or Path("runs") / Path(recipe or DEFAULT_RECIPE).stem)


def _kept(arguments: Mapping[str, Any]) -> Callable[[], str]:
    """Return what says how a run goes on that a signal ends between two trainings."""
    folder = _folder_of(arguments["out"], arguments["recipe"])
    return lambda: stopped_words(folder.path, is_kept=folder.is_resumable)


app = new_app()


@app.command()
@said_when_stopped(_kept)
def distill(
    context: typer.Context,
    dataset: DatasetArgument,
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"smoke, cpu, mill, production, gid or a TOML file.  [default: {DEFAULT_RECIPE}]"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.  [default: runs/RECIPE]")] = None,
    resume: ResumeFlag = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT|shipped",
            help="Checkpoint or official YOLOv5 weights to start from; shipped: the detector that edge-run "
            "has without --model.  [default: random]",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT|shipped|train",
            help="Detector to learn from; shipped: as above; train: train one first.  [default: train if "
            "the recipe has a table [distillation], else none]",
        ),
    ] = None,
    student_alone: Annotated[
        bool, typer.Option("--student-alone", help="Also train without the teacher, to compare.")
    ] = False,
    fake_quantise: Annotated[
        bool,
        typer.Option(
            "--fake-quantise", help="Round as the INT8 export will; to fine-tune with --start-from."
        ),
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    device: TrainingDeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Train a detector on a data set, alone or under a teacher, and score it.

    The run folder then holds best.pt, last.pt, history.jsonl, metrics.json, scorecard.jsonl and index.html,
    the page of the run. Ctrl-C saves last.pt; the same command with --resume goes on from there.
    """
    configure_logging()
    if resume and start_from:
        raise ConfigError(
            "--resume and --start-from exclude each other: a resumed run has its weights already.",
            "Leave --start-from out to go on, or --resume with another --out to start again.",
        )
    # Imports stand here because torch takes seconds: --help and most mistakes are answered without it.
    from distill.core.processes import joined
    from distill.core.run_folder import held, way_on_said
    from distill.data.dataset import check_classes, load_dataset
    from distill.settings.shipped import SHIPPED, checkpoint_named

    folder = _folder_of(out, recipe)
    flags = {"epochs": epochs, "seed": seed}
    settings = _recipe_of_run(folder, recipe, flags, resume, teacher is not None, fake_quantise)
    begin = None if start_from is None else checkpoint_named(start_from)
    teacher = str(checkpoint_named(teacher)) if teacher == SHIPPED else teacher
    plan = _plan_of_run(folder, settings, teacher, student_alone, begin, resume)
    classes = load_taxonomy(taxonomy)
    data = load_dataset(dataset, classes)
    check_classes(data, classes.classes)
    with joined(device.value) as processes:
        if not processes.is_first:
            logging.disable(logging.WARNING)
        given = given_options(context, but=NOT_REPEATED)
        chosen = _Chosen(folder, settings, plan, begin, resume, given)
        with held(folder.path) if processes.is_first else nullcontext(), way_on_said(folder.way_on):
            stages = _prepared(chosen, data, classes, processes)
            _run_stages(chosen, stages, data, classes, processes)
    if processes.is_first:
        from distill.commands.after_distill import command_after

        echo(f"next        {command_after(folder, settings, given, dataset, taxonomy)}")


@dataclass(frozen=True)
class _Chosen:
    """Hold the settings of the command line, read and checked."""

    folder: RunFolder
    recipe: Recipe
    plan: StagePlan | None
    start_from: Path | None
    resume: bool
    given: GivenOptions


def _plan_of_run(
    folder: RunFolder,
    settings: Recipe,
    teacher: str | None,
    student_alone: bool,
    start_from: Path | None,
    resume: bool,
) -> StagePlan | None:
    from distill.training.stage_plan import kept_plan, new_plan

    if resume:
        return kept_plan(folder, teacher, student_alone)
    return new_plan(settings, teacher, student_alone, start_from)


def _prepared(chosen: _Chosen, data: Dataset, classes: Taxonomy, processes: Processes) -> list[Stage]:
    """List what is to be trained; a new run gets its folder, once all is seen to fit."""
    from distill.training.stages import check_features, check_teacher, plain_stage, stages_of

    folder, recipe, plan = chosen.folder, chosen.recipe, chosen.plan
    if plan is None:
        stages = [plain_stage(recipe, folder, chosen.start_from)]
    else:
        check_teacher(plan, recipe, data, classes)
        stages = stages_of(plan, recipe, folder)
        check_features(stages)
    if not chosen.resume and processes.is_first:
        folder.open_new()
        folder.write_json(folder.recipe, recipe.model_dump(mode="json"))
        folder.write_json(folder.options, chosen.given)
        if plan is not None:
            folder.write_json(folder.stages, plan.model_dump())
    processes.wait()
    return stages


def _run_stages(
    chosen: _Chosen, stages: list[Stage], data: Dataset, classes: Taxonomy, processes: Processes
) -> None:
    """Train features, on simulated cloth, teacher, student alone and student as planned; print the rows."""
    from distill.data.simulated import rehearsed
    from distill.evaluation.scorecard import SCORECARD_NAME
    from distill.training.stages import check_taught, is_learnt, run_stage

    folder = chosen.folder
    scorecard = folder.path / SCORECARD_NAME
    rehearsal, scale = chosen.recipe.rehearsal, data.mm_per_px or chosen.recipe.mm_per_px

    def with_rehearsal(part: Dataset) -> Dataset:
        if rehearsal is None:
            return part
        return processes.first_before_others(
            lambda: rehearsed(part, rehearsal, scale, folder.rehearsal, classes)
        )

    training_data = with_rehearsal(data)
    folds = _cross_validated(chosen, stages[-1], data, classes, with_rehearsal, processes)
    for stage in stages:
        if is_learnt(stage):
            continue
        check_taught(stages, stage, data, processes)
        mine = _dataset_before(chosen, stage, scale, classes, processes) or training_data
        settled = partial(_settled, data, stage.recipe, folder, folds) if stage is stages[-1] else None
        if not run_stage(stage, mine, classes, processes, scorecard, settled):
            leave_interrupted(folder.path)
    if not processes.is_first:
        return
    echo(f"checkpoint  {folder.best}\nscorecard   {scorecard}")
    if folder.page.is_file():
        echo(f"page        {folder.page}")
    if chosen.plan is None or (chosen.plan.teacher is None and len(stages) == 1):
        _print_summary(folder)
    else:
        from distill.training.comparison import print_comparison
        from distill.training.stages import rows_of
        from edge.process.whole_table import wide_console

        print_comparison(rows_of(chosen.plan, stages, data, scorecard), wide_console())
    _print_result(folder, data.mm_per_px)


def _settled(
    data: Dataset, recipe: Recipe, folder: RunFolder, folds: list[list[ImageReports]]
) -> list[str]:
    """Choose the thresholds of a trained detector; return what it was worth, in words."""
    from distill.operating_point.settle import settle
    from distill.operating_point.table import in_words
    from distill.operating_point.verdict import remarks

    verdict = settle(data, recipe, folder, folds)
    return [] if verdict is None else [in_words(verdict), *remarks(verdict, data.mm_per_px)]


def _dataset_before(
    chosen: _Chosen, stage: Stage, mm_per_px: float | None, classes: Taxonomy, processes: Processes
) -> Dataset | None:
    """Gather what a stage learns from that comes before the data set; None for any other stage."""
    from distill.data.simulated import simulated_dataset
    from distill.data.unlabelled import unlabelled_dataset

    folder, pretraining, features = chosen.folder, chosen.recipe.pretraining, stage.features
    if features is not None:
        return processes.first_before_others(
            lambda: unlabelled_dataset(features, mm_per_px, folder.feature_images, classes)
        )
    if stage.is_simulated and pretraining is not None:
        return processes.first_before_others(
            lambda: simulated_dataset(pretraining.simulation, folder.simulated, classes)
        )
    return None


def _cross_validated(
    chosen: _Chosen,
    stage: Stage,
    data: Dataset,
    classes: Taxonomy,
    with_rehearsal: Callable[[Dataset], Dataset],
    processes: Processes,
) -> list[list[ImageReports]]:
    """Judge every image by a detector that was trained without it, where the recipe asks for that.

    Under a teacher, or after another training, the val split alone is judged.
    """
    from distill.operating_point.folds import cross_validated
    from distill.training.stages import row_of

    recipe = chosen.recipe
    if not (recipe.operating_point.folds and recipe.is_single_stage) or row_of(stage) is not None:
        return []
    listed = cross_validated(
        data, recipe, classes, chosen.folder, stage.start_from, with_rehearsal, processes
    )
    if listed is None:
        leave_interrupted(chosen.folder.path)
    return listed


def _recipe_of_run(
    folder: RunFolder,
    recipe: str | None,
    flags: dict[str, int | None],
    resume: bool,
    has_teacher: bool,
    fake_quantise: bool,
) -> Recipe:
    """Read the recipe; a resumed run keeps its own, and flags may repeat it but not change it.

    With a teacher, a recipe without a distillation gets one with its defaults; likewise with
    `fake_quantise` a fake quantisation.

    Raises:
        ConfigError: if a resumed run is asked to change.
        CheckpointError: if there is no run to resume.
    """
    from distill.settings.recipe import Recipe, load_recipe

    if not resume:
        asked = load_recipe(recipe or DEFAULT_RECIPE, os.environ, flags)
        asked = asked.taught() if has_teacher else asked
        return asked.fake_quantised() if fake_quantise else asked
    kept = _kept_recipe(folder)
    asked = load_recipe(recipe, os.environ, flags) if recipe else kept.model_copy(update=_given(flags))
    asked = asked.taught() if has_teacher or kept.distillation is not None else asked
    asked = asked.fake_quantised() if fake_quantise or kept.fake_quantisation is not None else asked
    for key in Recipe.model_fields:
        if getattr(asked, key) != getattr(kept, key):
            raise ConfigError(
                f"The run in {folder.path} has {key} = {getattr(kept, key)!r}, "
                f"not {getattr(asked, key)!r}.",
                "A resumed run keeps its recipe: leave --recipe, --epochs and --seed out.",
            )
    return kept


def _kept_recipe(folder: RunFolder) -> Recipe:
    from distill.settings.recipe import Recipe
    from distill.training.stage_plan import kept_recipe

    if folder.stages.is_file() and not folder.last.is_file():
        return kept_recipe(folder)
    folder.open_existing()

    from distill.checkpoint import read_checkpoint

    return Recipe.model_validate(read_checkpoint(folder.last).recipe)


def _given(flags: dict[str, int | None]) -> dict[str, int]:
    return {key: value for key, value in flags.items() if value is not None}


def _print_summary(folder: RunFolder) -> None:
    from distill.evaluation.scorecard import SCORECARD_NAME, read_rows
    from distill.training.comparison import doubts
    from distill.training.finish import read_summary

    summary = read_summary(folder)
    recall = "not known" if summary.recall is None else f"{summary.recall:.3f}"
    alarms = summary.false_alarms_per_clean_m2
    echo(f"metrics     {folder.metrics}")
    echo(
        f"mAP50 {summary.map50:.3f}  mAP50-95 {summary.map50_95:.3f}  recall {recall}  "
        f"false alarms per clean m2 {'not known' if alarms is None else f'{alarms:.2f}'}"
    )
    for doubt in doubts(read_rows(folder.path / SCORECARD_NAME)[-1:]):
        echo(f"warning: {doubt}")


def _print_result(folder: RunFolder, mm_per_px: float | None) -> None:
    """Print what became better or worse than where the training started."""
    from distill.operating_point.settle import read_verdict
    from distill.operating_point.table import in_words, print_verdict
    from distill.training.curves import since_first_epoch
    from edge.process.whole_table import wide_console

    verdict = read_verdict(folder)
    if verdict is not None:
        print_verdict(verdict, mm_per_px, wide_console())
    words = in_words(verdict) if verdict is not None else since_first_epoch(folder.read_history())
    echo(f"result      {words}")


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()

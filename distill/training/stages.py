"""Run stages one after the other; each is a run of its own that can be taken up where it was left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distill.checkpoint import HELD_OUT_LOSS, read_checkpoint
from distill.core.processes import Processes
from distill.core.progress import ConsoleListener
from distill.core.run_folder import RunFolder
from distill.core.value import FiniteValue, read_kept
from distill.data.dataset import Dataset
from distill.data.unlabelled import check_folders
from distill.detector.trunk import trunk_weights
from distill.evaluation.scorecard import SCORECARD_NAME, ScorecardRow, append_row, read_rows
from distill.gid.teacher import load_teacher
from distill.settings.feature_pretraining import FeaturePretraining
from distill.settings.recipe import Recipe
from distill.training.feature_pretraining import learn_features
from distill.training.finish import finish
from distill.training.stage_plan import (
    DISTILLED,
    FEATURES,
    PLAIN,
    PRETRAINED,
    STUDENT_ALONE,
    TEACHER,
    TEACHER_FEATURES,
    TEACHER_PRETRAINED,
    TRAIN,
    StagePlan,
)
from distill.training.teacher_check import check_has_learnt, teacher_row
from distill.training.train import contract_for, train
from edge.core.contract import ModelContract
from edge.core.files import file_digest
from edge.core.taxonomy import Taxonomy

logger = logging.getLogger(__name__)


FEATURES_SHOWN: Final = {"loss": "loss", HELD_OUT_LOSS: "held-out loss"}


class LearntFeatures(FiniteValue):
    """Say that features are learnt, and how well. It stands in `metrics.json` of their run folder.

    Attributes:
        held_out_loss: over all levels, weighted.
        checkpoint_digest: sha256 of `best.pt`.
    """

    held_out_loss: float
    checkpoint_digest: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Describe one of the runs.

    Attributes:
        name: in the scorecard.
        teacher: checkpoint to learn from; None learns from the labels alone.
        start_from: checkpoint whose weights to start from; None for random ones.
        is_simulated: whether it learns from simulated cloth, before the others.
        features: what a backbone learns before it learns to detect; None for a stage that detects.
        contract: of a detector that exists; None takes the recipe's.
    """

    name: str
    folder: RunFolder
    recipe: Recipe
    teacher: Path | None = None
    start_from: Path | None = None
    is_simulated: bool = False
    features: FeaturePretraining | None = None
    contract: ModelContract | None = None


def plain_stage(recipe: Recipe, folder: RunFolder, start_from: Path | None) -> Stage:
    """Return the only stage of a run without a teacher and without pretraining."""
    return Stage(PLAIN, folder, recipe, start_from=start_from)


def stages_of(plan: StagePlan, recipe: Recipe, folder: RunFolder) -> list[Stage]:
    """List the stages of a plan in their order; the last is that of the folder itself."""
    start_from = Path(plan.start_from) if plan.start_from else None
    teacher = Path(plan.teacher) if plan.teacher else None
    stages = []
    if plan.teacher == TRAIN:
        teacher, mine = folder.teacher.best, recipe.of_teacher()
        stages += _features(TEACHER_FEATURES, folder.teacher_feature_pretrained, mine, recipe)
        stages += _pretrained(TEACHER_PRETRAINED, folder.teacher_pretrained, mine, recipe, _last_of(stages))
        stages.append(Stage(TEACHER, folder.teacher, mine, start_from=_last_of(stages)))
    first = _features(FEATURES, folder.feature_pretrained, recipe, recipe)
    first += _pretrained(PRETRAINED, folder.pretrained, recipe, recipe, _last_of(first))
    stages, start_from = stages + first, _last_of(first) or start_from
    if plan.student_alone:
        alone = Stage(STUDENT_ALONE, folder.student_alone, recipe.alone(), start_from=start_from)
        stages.append(alone)
    name = PLAIN if teacher is None else DISTILLED
    return [*stages, Stage(name, folder, recipe, teacher, start_from)]


def _features(name: str, folder: RunFolder, mine: Recipe, recipe: Recipe) -> list[Stage]:
    """Return the stage that learns features; none if the recipe has no feature pretraining."""
    if recipe.feature_pretraining is None:
        return []
    learning = mine.on_features(recipe.feature_pretraining)
    return [Stage(name, folder, learning, features=recipe.feature_pretraining)]


def _pretrained(
    name: str, folder: RunFolder, mine: Recipe, recipe: Recipe, start_from: Path | None
) -> list[Stage]:
    """Return the stage on simulated cloth; none if the recipe has no pretraining."""
    if recipe.pretraining is None:
        return []
    learning = mine.on_simulated_cloth(recipe.pretraining)
    return [Stage(name, folder, learning, start_from=start_from, is_simulated=True)]


def _last_of(stages: Sequence[Stage]) -> Path | None:
    """Return the checkpoint that the next stage starts from; None for random weights."""
    return stages[-1].folder.best if stages else None


def check_teacher(plan: StagePlan, recipe: Recipe, dataset: Dataset, taxonomy: Taxonomy) -> None:
    """See that a teacher that is given suits the student, before anything is written.

    Raises:
        CheckpointError, ConfigError: as `load_teacher`.
    """
    if plan.teacher not in (None, TRAIN):
        load_teacher(Path(str(plan.teacher)), contract_for(recipe, taxonomy, dataset.mm_per_px))


def check_taught(stages: Sequence[Stage], at: Stage, dataset: Dataset, processes: Processes) -> None:
    """See that the teacher of the last stage has learnt something, once `at` is the first stage after it.

    Raises:
        TrainingError: as `check_has_learnt`.
    """
    last = stages[-1]
    is_due = at.name not in (TEACHER, TEACHER_PRETRAINED, TEACHER_FEATURES) and row_of(last) is None
    if is_due and last.teacher is not None:
        scorecard = last.folder.path / SCORECARD_NAME
        check_has_learnt(last.teacher, dataset, last.recipe, scorecard, processes)


def check_features(stages: Sequence[Stage]) -> None:
    """See that what features are learnt from is there, before anything is written.

    Raises:
        MissingPackageError, CheckpointError: as `trunk_weights`.
        CameraNotFoundError, NoImagesError, DatasetError: as `check_folders`.
    """
    for stage in stages:
        if stage.features is not None and not is_learnt(stage):
            trunk_weights(stage.features.trunk)
            check_folders(stage.features)


def run_stage(
    stage: Stage,
    dataset: Dataset,
    taxonomy: Taxonomy,
    processes: Processes,
    scorecard: Path,
    settle: Callable[[], Sequence[str]] | None = None,
) -> bool:
    """Train and measure one stage; what of it is done already is not done again.

    Args:
        processes: that train it together; the first alone measures and writes.
        dataset: the one it learns from: for a simulated stage that of `simulated_dataset`, for features
            that of `unlabelled_dataset`.
        scorecard: of all stages; this one's row goes there, too, unless it was measured on simulated cloth.
        settle: called between training and measuring, by the first process; returns lines that say what the
            training was worth.
    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        LoomsightError: as `train`.
    """
    folder, recipe = stage.folder, stage.recipe
    if stage.features is not None:
        return _learn(stage, stage.features, dataset, taxonomy, processes)
    if row_of(stage) is None:
        resume = _opened(stage, processes)
        with ConsoleListener(recipe.epochs) as listener:
            is_done = train(
                dataset,
                stage.contract or contract_for(recipe, taxonomy, dataset.mm_per_px),
                recipe,
                folder,
                device=processes.device,
                listener=listener,
                turned_ids=taxonomy.quarter_turned_ids(),
                resume=resume,
                start_from=None if resume else stage.start_from,
                teacher=stage.teacher,
                processes=processes,
            )
        if not is_done:
            return False
        if processes.is_first:
            results = settle() if settle is not None else ()
            finish(dataset, recipe, folder, stage.name, results)
        processes.wait()
    if not processes.is_first:
        return True
    row = row_of(stage)
    if row is not None and not stage.is_simulated and row not in read_rows(scorecard):
        append_row(scorecard, row)
    return True


def _learn(
    stage: Stage,
    features: FeaturePretraining,
    dataset: Dataset,
    taxonomy: Taxonomy,
    processes: Processes,
) -> bool:
    """Train the stage that learns features; see `run_stage`."""
    folder, recipe = stage.folder, stage.recipe
    resume = _opened(stage, processes)
    with ConsoleListener(recipe.epochs, FEATURES_SHOWN) as listener:
        is_done = learn_features(
            dataset,
            contract_for(recipe, taxonomy, dataset.mm_per_px),
            recipe,
            features,
            folder,
            listener=listener,
            resume=resume,
            processes=processes,
        )
    if is_done and processes.is_first:
        best = read_checkpoint(folder.best)
        folder.write_json(folder.metrics, {**best.metrics, "checkpoint_digest": file_digest(folder.best)})
    processes.wait()
    return is_done


def is_learnt(stage: Stage) -> bool:
    """Tell whether a stage is one that learns features, and is done."""
    folder = stage.folder
    if stage.features is None or not (folder.metrics.is_file() and folder.best.is_file()):
        return False
    return read_kept(LearntFeatures, folder.metrics).checkpoint_digest == file_digest(folder.best)


def _opened(stage: Stage, processes: Processes) -> bool:
    """Make the folder of a stage, unless the stage goes on in it; tell which."""
    folder, recipe = stage.folder, stage.recipe
    logger.info("stage %s: YOLOv5%s in %s", stage.name, recipe.scale, folder.path)
    resume = folder.last.is_file()
    processes.wait()
    if not resume and processes.is_first:
        folder.open_again()
        folder.write_json(folder.recipe, recipe.model_dump(mode="json"))
    return resume


def row_of(stage: Stage) -> ScorecardRow | None:
    """Return the scorecard row of a stage; None as long as it is not done."""
    if not stage.folder.best.is_file():
        return None
    digest = file_digest(stage.folder.best)
    rows = read_rows(stage.folder.path / SCORECARD_NAME)
    own = [row for row in rows if row.stage == stage.name and row.checkpoint_digest == digest]
    return own[-1] if own else None


def rows_of(
    plan: StagePlan, stages: Sequence[Stage], dataset: Dataset, scorecard: Path
) -> list[ScorecardRow]:
    """Return the rows of all stages that are done, the teacher's first; one that was given is measured."""
    measured_here = [stage for stage in stages if not stage.is_simulated]
    rows = [row for row in map(row_of, measured_here) if row is not None]
    if plan.teacher is None or plan.teacher == TRAIN:
        return rows
    return [teacher_row(Path(plan.teacher), dataset, stages[-1].recipe, scorecard), *rows]

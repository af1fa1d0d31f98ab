"""Plan the stages of a run: features and simulated cloth first, teacher, student alone, student."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from distill.core.run_folder import RunFolder
from distill.core.value import FiniteValue, read_kept
from distill.settings.recipe import Recipe
from edge.core.errors import ConfigError

TRAIN: Final = "train"
"""In the place of a teacher's checkpoint: train one first."""

TEACHER, STUDENT_ALONE, DISTILLED = "teacher", "student-alone", "distilled"
TEACHER_PRETRAINED, PRETRAINED = "teacher-pretrained", "pretrained"
TEACHER_FEATURES, FEATURES = "teacher-feature-pretrained", "feature-pretrained"
PLAIN: Final = "train"
"""A detector that has no teacher."""


class StagePlan(FiniteValue):
    """Say what a run of several stages trains. It stands in `stages.json` of the run folder.

    Attributes:
        teacher: path of a checkpoint, or `TRAIN`; None for no teacher.
        student_alone: whether the student is also trained without the teacher, to compare.
        start_from: checkpoint whose weights the student starts from; None for random ones.
    """

    teacher: str | None
    student_alone: bool = False
    start_from: str | None = None


def new_plan(
    recipe: Recipe, teacher: str | None, student_alone: bool, start_from: Path | None
) -> StagePlan | None:
    """Plan the stages of a new run; None if there is one alone and nothing before it.

    Raises:
        ConfigError: if something is asked for that needs a distillation, or weights for a run that makes
            its own.
    """
    asked = "--student-alone" if student_alone else "The recipe's table [teacher]"
    if recipe.distillation is None and (student_alone or recipe.teacher is not None):
        raise ConfigError(
            f"{asked} needs a distillation.", "Add --teacher, or a table [distillation] to the recipe."
        )
    for table in ("pretraining", "feature_pretraining"):
        if getattr(recipe, table) is not None and start_from is not None:
            raise ConfigError(
                f"--start-from and the recipe's table [{table}] exclude each other.",
                "Leave one of them out.",
            )
    if recipe.is_single_stage and not recipe.operating_point.folds:
        return None
    return StagePlan(
        teacher=(teacher or TRAIN) if recipe.distillation is not None else None,
        student_alone=student_alone,
        start_from=str(start_from) if start_from else None,
    )


def kept_plan(folder: RunFolder, teacher: str | None, student_alone: bool) -> StagePlan | None:
    """Read the plan of a run that goes on; None if it has none.

    Args:
        teacher, student_alone: may repeat what the run was started with, but not change it.
    Raises:
        CheckpointError: if stages.json is damaged.
        ConfigError: if the run is asked to change.
    """
    if not folder.stages.is_file():
        return None
    plan = read_kept(StagePlan, folder.stages)
    if (teacher is not None and teacher != plan.teacher) or (student_alone and not plan.student_alone):
        began = f"--teacher {plan.teacher}" if plan.teacher else "no --teacher"
        began += " --student-alone" if plan.student_alone else ""
        raise ConfigError(
            f"The run in {folder.path} was started with {began}.",
            "A resumed run keeps its stages: leave --teacher and --student-alone out.",
        )
    return plan


def kept_recipe(folder: RunFolder) -> Recipe:
    """Read the recipe of a run that was stopped before its student's first checkpoint.

    Raises:
        CheckpointError: if recipe.json is missing or damaged.
    """
    return read_kept(Recipe, folder.recipe)

"""See that a teacher has learnt something before anything is trained under it."""

from __future__ import annotations

from pathlib import Path

from distill.core.processes import Processes
from distill.data.dataset import Dataset
from distill.evaluation.scorecard import ScorecardRow, append_row, read_rows
from distill.settings.recipe import Recipe
from distill.training.finish import measure
from distill.training.stage_plan import TEACHER
from edge.core.errors import TrainingError
from edge.core.files import file_digest


def check_has_learnt(
    teacher: Path, dataset: Dataset, recipe: Recipe, scorecard: Path, processes: Processes
) -> None:
    """Refuse a teacher whose mAP50 on the validation split is below the recipe's floor.

    A validation split without a defect says nothing of it, and refuses none.

    Args:
        teacher: its checkpoint.
        recipe: of the student.
        scorecard: its row is there already, or is measured and added.
        processes: that train together; the first alone measures.
    Raises:
        TrainingError: if it has learnt less.
    """
    least = recipe.distillation.least_teacher_map50 if recipe.distillation is not None else 0.0
    if not least or not any(len(image.class_ids) for image in dataset.val):
        return
    row = teacher_row(teacher, dataset, recipe, scorecard) if processes.is_first else None
    map50 = processes.from_first(row.map50 if row is not None else None)
    if map50 is not None and map50 < least:
        raise TrainingError(
            f"The teacher {teacher} has learnt next to nothing: mAP50 {map50:.3f} on the validation split, "
            f"{least:g} is required.",
            "What it teaches is noise: train it longer, name another with --teacher, or lower "
            "least_teacher_map50 in the recipe's table [distillation].",
        )


def teacher_row(teacher: Path, dataset: Dataset, recipe: Recipe, scorecard: Path) -> ScorecardRow:
    """Return the scorecard row of a teacher; it is measured if there is none.

    Raises:
        CheckpointError: if it cannot be read.
    """
    digest = file_digest(teacher)
    rows = [row for row in read_rows(scorecard) if row.stage == TEACHER and row.checkpoint_digest == digest]
    if rows:
        return rows[-1]
    row = measure(dataset, recipe, teacher, TEACHER).row
    append_row(scorecard, row)
    return row

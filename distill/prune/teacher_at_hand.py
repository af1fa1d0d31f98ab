"""Find the teacher that a checkpoint was trained under, to recover under it, too."""

from __future__ import annotations

import logging
from pathlib import Path

from distill.core.run_folder import RunFolder
from distill.core.value import read_kept
from distill.gid.teacher import load_teacher
from distill.prune.settings import PruneSettings
from distill.training.stage_plan import TRAIN, StagePlan
from edge.core.contract import ModelContract
from edge.core.errors import LoomsightError

logger = logging.getLogger(__name__)


def with_teacher_at_hand(
    settings: PruneSettings, checkpoint: Path, contract: ModelContract
) -> PruneSettings:
    """Decide what recoveries learn from, where that was left open.

    A teacher that was named comes first, then the one of the run that the checkpoint is of; where there is
    none, or it does not suit the checkpoint any more, it is the detector before the cut.

    Args:
        contract: of the checkpoint.
    """
    if settings.recover is not None:
        return settings
    teacher = _teacher_of(checkpoint)
    if teacher is None:
        return settings.model_copy(update={"recover": "self"})
    try:
        load_teacher(teacher, contract)
    except LoomsightError as error:
        logger.warning("recovers under itself, not under its teacher: %s", error)
        return settings.model_copy(update={"recover": "self"})
    logger.info("recovers under %s, which taught it", teacher)
    return settings.model_copy(update={"recover": "teacher", "teacher": str(teacher)})


def _teacher_of(checkpoint: Path) -> Path | None:
    """Return the teacher's checkpoint, if the checkpoint lies in a run folder that says which it had."""
    folder = RunFolder(checkpoint.parent)
    if not folder.stages.is_file():
        return None
    try:
        plan = read_kept(StagePlan, folder.stages)
    except LoomsightError as error:
        logger.warning("which teacher %s had cannot be told: %s", checkpoint, error)
        return None
    if plan.teacher is None:
        return None
    teacher = folder.teacher.best if plan.teacher == TRAIN else Path(plan.teacher)
    try:
        return teacher if teacher.is_file() else None
    except OSError:  # a name that no file can have, or a folder that is closed to this user
        return None

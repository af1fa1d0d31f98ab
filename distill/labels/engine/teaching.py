"""Teach annotators on what was accepted and reviewed: the second and later rounds."""

from __future__ import annotations

from pathlib import Path

from distill.core.run_folder import RunFolder
from distill.labels.engine.job import Job
from distill.labels.engine.registry import ANNOTATORS
from distill.labels.engine.settings import AnnotatorSpec


def is_teachable(spec: AnnotatorSpec) -> bool:
    """Tell whether an annotator can be, and may be, taught."""
    return spec.teach and ANNOTATORS[spec.kind].is_teachable


def taught(spec: AnnotatorSpec, dataset: Path, job: Job, folder: Path) -> AnnotatorSpec:
    """Teach an annotator on a data set folder and return it as it then is.

    A run that was interrupted goes on.

    Args:
        spec: who is taught; its model stays as it is.
        dataset: folder with reviewed and accepted boxes.
        job: whose taxonomy and device are used.
        folder: of the run.
    Raises:
        StoppedError: if a signal asked to stop.
        LoomsightError: whatever teaching raises.
    """
    return ANNOTATORS[spec.kind].load().taught(spec, dataset, job, RunFolder(folder))


def check_teaching(spec: AnnotatorSpec) -> None:
    """See that the settings of a teaching are valid, before hours of labelling lead to it.

    Raises:
        ConfigError: if one is not.
        CheckpointError: if a detector's checkpoint, which holds its recipe, cannot be read.
    """
    ANNOTATORS[spec.kind].load().teaching_settings(spec)


def opened_run(folder: RunFolder) -> bool:
    """Make the run's folder; tell whether a run that was interrupted is in it."""
    if folder.last.is_file():
        return True
    folder.open_new()
    return False

"""Refuse a job that cannot end well before the first image is labelled: names, groups, annotators."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from distill.labels.engine.builders import AnnotatorContext
from distill.labels.engine.job import Job
from distill.labels.engine.registry import ANNOTATORS
from distill.labels.engine.shards import run_here
from distill.labels.engine.training_set import check_names
from distill.labels.sets.groups import by_name
from edge.core.counted import of_all
from edge.core.errors import ConfigError, DatasetError


def check_beginning(job: Job, rounds: int, fractions: Mapping[str, float]) -> None:
    """See that a job can be done to its end; annotators that have nothing left to do are not loaded.

    Args:
        job: what to label, and how.
        rounds: most rounds.
        fractions: of the splits, where there is no reviewed set.
    Raises:
        ConfigError: if there is nobody to teach, nothing to judge by, or a setting is not permitted.
        DatasetError: if two images cannot stand in one data set, or the groups do not suffice.
        LoomsightError: whatever loading an annotator raises.
    """
    check_names(job.catalogue.names, job.reviewed)
    if job.group:
        _check_groups(job, job.group, fractions)
    if rounds > 1:
        _check_can_teach(job)
    if job.runner is run_here:  # on Ray the models need not be here
        _check_models(job)


def _check_groups(job: Job, expression: str, fractions: Collection[str]) -> None:
    """Without a reviewed set images are split by their groups, so each needs one."""
    group_of = by_name(expression)
    if job.reviewed is not None:
        return
    groups = {name: group_of(name) for name in job.catalogue.names}
    without = [name for name, group in groups.items() if not group]
    if without:
        raise DatasetError(
            f"No group is known of {of_all(len(without), len(groups), 'image')}, first {without[0]}.",
            "Correct --group until every image has one, or leave it out.",
        )
    if len(set(groups.values())) < len(fractions):
        raise DatasetError(
            f"{len(set(groups.values()))} groups cannot be split into {len(fractions)} splits.",
            "Use a finer --group, or fewer splits in --split.",
        )


def _check_can_teach(job: Job) -> None:
    if job.reviewed is None:
        raise ConfigError(
            "More than one round needs a reviewed set to judge by.", "Name one with --reviewed."
        )
    teachable = [spec for spec in job.settings.annotators if spec.is_teachable]
    if not teachable:
        raise ConfigError(
            "None of the annotators can be taught.", "Add a Florence-2 or a detector, or use --rounds 1."
        )
    for spec in teachable:
        ANNOTATORS[spec.kind].load().teaching_settings(spec)


def _check_models(job: Job) -> None:
    """Load, and release again, what has work left: a model that is missing would stop the job half-way."""
    for spec in job.settings.annotators:
        if job.is_wanted(spec):
            ANNOTATORS[spec.kind].load().build(
                spec, AnnotatorContext(job.taxonomy, job.device, job.mm_per_px)
            )
    outlines = job.settings.outlines
    if outlines is not None and not job.is_outlined:
        from distill.labels.sam.outliner import open_outliner

        open_outliner(outlines.model, outlines.settings, job.device)

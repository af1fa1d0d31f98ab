"""Which example is taught when: a function of the seed and the epoch, so that a stopped run can go on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distill.labels.florence.settings import FinetuneSettings, TaskName
from distill.labels.florence.tasks import examples_of
from distill.labels.formats.flip import DIRECTIONS, Direction
from distill.labels.sets.annotations import AnnotatedImage
from edge.core.taxonomy import Taxonomy


class Exercise(NamedTuple):
    """Name one example: of which image, for which task, and which of those it gives."""

    image: int
    task: TaskName
    number: int


class Turn(NamedTuple):
    """Hold an exercise, and how its image is mirrored this time."""

    exercise: Exercise
    flips: tuple[Direction, ...]


def exercises_of(
    images: Sequence[AnnotatedImage], taxonomy: Taxonomy, tasks: Sequence[TaskName]
) -> tuple[Exercise, ...]:
    """List every example that images give, task by task in the order given.

    Raises:
        DatasetError: if a region has no label.
    """
    return tuple(
        Exercise(index, task, number)
        for task in tasks
        for index, image in enumerate(images)
        for number in range(len(examples_of(task, image, taxonomy)))
    )


def epoch_batches(
    exercises: Sequence[Exercise], settings: FinetuneSettings, epoch: int
) -> list[list[Turn]]:
    """Put the exercises of an epoch into batches.

    In blocks, a batch holds one task, so that its answers are of like length and its loss of like size.
    """
    rng = np.random.default_rng([settings.seed, epoch])
    batches: list[list[Turn]] = []
    for block in _blocks(exercises, settings, rng):
        mirrored = rng.random((len(block), 2)) < settings.flip_share
        turns = [
            Turn(exercise, tuple(itertools.compress(DIRECTIONS, flips)))
            for exercise, flips in zip(block, mirrored.tolist(), strict=True)
        ]
        batches += [turns[start : start + settings.batch] for start in range(0, len(turns), settings.batch)]
    return batches


def _blocks(
    exercises: Sequence[Exercise], settings: FinetuneSettings, rng: np.random.Generator
) -> list[list[Exercise]]:
    """Shuffle: within each task, or the images, whose tasks then keep their order."""
    if settings.task_order == "blocks":
        blocks = [
            list(group) for _, group in itertools.groupby(exercises, key=lambda exercise: exercise.task)
        ]
        return [[block[i] for i in rng.permutation(len(block))] for block in blocks]
    by_image: dict[int, list[Exercise]] = {}
    for exercise in exercises:
        by_image.setdefault(exercise.image, []).append(exercise)
    images = list(by_image.values())
    return [[exercise for i in rng.permutation(len(images)) for exercise in images[i]]]

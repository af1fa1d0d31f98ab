"""Cross-validate: every image is judged by a detector that was trained without it and its roll."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from distill.checkpoint import load_detector
from distill.core.processes import Processes
from distill.core.progress import ConsoleListener
from distill.core.run_folder import RunFolder
from distill.data.dataset import Dataset, LabelledImage
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from distill.labels.sets.split import split
from distill.operating_point.reports import ImageReports, reports_on
from distill.settings.recipe import Recipe
from distill.training.train import contract_for, train
from edge.core.errors import DatasetError
from edge.core.taxonomy import Taxonomy

logger = logging.getLogger(__name__)

FOLD_SEED = 0

_REPORTS = TypeAdapter(list[ImageReports])


def parts_of(dataset: Dataset, folds: int) -> list[list[LabelledImage]]:
    """Share the images of train and val out to folds, alike in their classes; a group stays together.

    Args:
        folds: at most; there are no more than groups, and none if there is one group alone.
    """
    labelled_images = (*dataset.train, *dataset.val)
    groups = [labelled.group or str(labelled.path) for labelled in labelled_images]
    count = min(folds, len(set(groups)))
    if count < 2:
        return []
    images = tuple(
        AnnotatedImage(str(number), (1, 1), _regions(labelled), group=group)
        for number, (labelled, group) in enumerate(zip(labelled_images, groups, strict=True))
    )
    names = [f"fold {number}" for number in range(count)]
    shared = split(LabelSet(Path(), (), images), dict.fromkeys(names, 1 / count), FOLD_SEED)
    return [
        [
            replace(labelled, weights=None)
            for labelled, image in zip(labelled_images, shared.images, strict=True)
            if image.split == name
        ]
        for name in names
    ]


def _regions(labelled: LabelledImage) -> tuple[Region, ...]:
    return tuple(Region(str(class_id), (0.0, 0.0, 1.0, 1.0)) for class_id in labelled.class_ids)


def cross_validated(
    dataset: Dataset,
    recipe: Recipe,
    taxonomy: Taxonomy,
    folder: RunFolder,
    start_from: Path | None,
    with_rehearsal: Callable[[Dataset], Dataset],
    processes: Processes,
) -> list[list[ImageReports]] | None:
    """Train one detector per fold and list what each reports on the images it was not trained on.

    What a run that was stopped has done already is not done again.

    Args:
        dataset: its train and val splits are split again; test is not touched.
        folder: of the run; folds are in folders of their own below it.
        with_rehearsal: adds simulated cloth to what is trained on.
        processes: that train together.
    Returns:
        Reports by fold, the same in every process; None if a signal stopped it.
    Raises:
        DatasetError: if an image is damaged.
        LoomsightError: as `train`.
    """
    listed: list[list[ImageReports]] = []
    parts = parts_of(dataset, recipe.operating_point.folds)
    weighted = {labelled.path: labelled for labelled in (*dataset.train, *dataset.val)}
    for number, held_out in enumerate(parts):
        run = RunFolder(folder.folds / str(number + 1))
        rest = [weighted[one.path] for index, part in enumerate(parts) if index != number for one in part]
        part = replace(dataset, train=tuple(rest), val=tuple(held_out))
        logger.info("part %d of %d: %d images held out", number + 1, len(parts), len(held_out))
        if not run.reports.is_file():
            training_data = with_rehearsal(part)
            if not _trained(run, training_data, recipe, taxonomy, start_from, processes):
                return None
            if processes.is_first:
                _write_reports(run, part)
        processes.wait()
        listed.append(read_reports(run))
    return listed


def read_reports(run: RunFolder) -> list[ImageReports]:
    """Read what a fold's detector reports on its own images.

    Raises:
        DatasetError: if the file is damaged.
    """
    try:
        return _REPORTS.validate_json(run.reports.read_bytes())
    except (OSError, ValidationError) as error:
        raise DatasetError(f"{run.reports} cannot be read.", "Delete it and resume the run.") from error


def _trained(
    run: RunFolder,
    training_data: Dataset,
    recipe: Recipe,
    taxonomy: Taxonomy,
    start_from: Path | None,
    processes: Processes,
) -> bool:
    resume = run.last.is_file()
    processes.wait()
    if not resume and processes.is_first:
        run.open_again()
    with ConsoleListener(recipe.epochs) as listener:
        return train(
            training_data,
            contract_for(recipe, taxonomy, training_data.mm_per_px),
            recipe,
            run,
            device=processes.device,
            listener=listener,
            turned_ids=taxonomy.quarter_turned_ids(),
            resume=resume,
            start_from=None if resume else start_from,
            processes=processes,
        )


def _write_reports(run: RunFolder, part: Dataset) -> None:
    """List what the last epoch's detector reports; the best one would be chosen on these very images."""
    detector = load_detector(run.last)
    listed = reports_on(detector.module, detector.contract, part.val, part.mm_per_px)
    run.write_json(run.reports, json.loads(_REPORTS.dump_json(listed)))

"""Give a trained checkpoint its thresholds; keep the detector it started from where that one is better."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from distill.checkpoint import Detector, load_detector, read_checkpoint, write_checkpoint
from distill.core.run_folder import RunFolder
from distill.core.value import read_kept
from distill.data.dataset import Dataset
from distill.operating_point.folds import parts_of
from distill.operating_point.reports import ImageReports, reports_on
from distill.operating_point.verdict import Verdict, verdict_on
from distill.settings.recipe import Recipe
from distill.training.starting_point import load_named
from edge.core.contract import ModelContract
from edge.core.errors import CheckpointError

logger = logging.getLogger(__name__)


def settle(
    dataset: Dataset, recipe: Recipe, folder: RunFolder, folds: Sequence[Sequence[ImageReports]]
) -> Verdict | None:
    """Choose the thresholds of `best.pt`, once it is trained, and write down what they give.

    Only a cross-validation takes the place of a trained detector away: judged on the images that its
    thresholds were chosen on, it is compared and no more.

    Args:
        folds: reports of a cross-validation; empty without one: the val split is judged.
    Returns:
        None without a cross-validation and without a detector that training started from: the thresholds
        are then those that the validation chose.
    Raises:
        CheckpointError: if a checkpoint cannot be read.
        OutputError: if one cannot be written.
    """
    best = load_detector(folder.best)
    start = _starting_detector(folder, best.contract)
    if not folds and start is None:
        return None
    images = list(chain(*parts_of(dataset, recipe.operating_point.folds))) if folds else dataset.val
    judged = folds or [reports_on(best.module, best.contract, images, dataset.mm_per_px)]
    before = None if start is None else reports_on(start.module, start.contract, images, dataset.mm_per_px)
    thresholds = (start or best).contract.score_thresholds
    verdict = verdict_on(judged, before, thresholds, recipe.operating_point)
    folder.write_json(folder.operating_point, verdict.model_dump(mode="json"))
    tuned = replace(best.checkpoint, contract=best.contract.with_thresholds(verdict.thresholds))
    if start is None or verdict.is_better or not verdict.is_cross_validated:
        write_checkpoint(folder.best, tuned)
    else:
        write_checkpoint(folder.tuned, tuned)
        write_checkpoint(folder.best, replace(start.checkpoint, training=None))
    return verdict


def read_verdict(folder: RunFolder) -> Verdict | None:
    """Read what `settle` wrote; None if it wrote nothing.

    Raises:
        CheckpointError: if the file is damaged.
    """
    if not folder.operating_point.is_file():
        return None
    return read_kept(Verdict, folder.operating_point)


def _starting_detector(folder: RunFolder, contract: ModelContract) -> Detector | None:
    """Return the detector that training started from, if it reports the same classes and can be run."""
    if not folder.start_from.is_file():
        return None
    try:
        path = Path(json.loads(folder.start_from.read_bytes())["checkpoint"])
        started_from = read_checkpoint(path)
        has_other_classes = started_from.contract.class_names != contract.class_names
        if has_other_classes or started_from.knows_features_alone:
            return None
        return load_named(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning(
            "%s cannot be read: no comparison with what came before (%s)", folder.start_from, error
        )
    except CheckpointError as error:
        logger.warning("no comparison with what came before: %s", error.problem)
    return None

"""Choose among plans by what each detector is worth right after its cut, its norms measured again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from distill.checkpoint import Detector
from distill.core.value import Value
from distill.data.dataset import Dataset
from distill.data.tiles import TilePlan
from distill.evaluation.evaluate import Metrics, validate
from distill.prune.apply import cut
from distill.prune.norms import with_norms_measured
from distill.prune.plan import PlannerName, PlanOptions, PruningPlan
from distill.settings.recipe import Recipe
from edge.core.contract import ModelContract

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

NORM_IMAGES, SCORE_IMAGES = 64, 256
NORM_TILES, SCORE_TILES = 128, 512
"""That norms are measured and plans are scored on, at most: ten seconds or so for each plan."""


@dataclass(frozen=True, slots=True)
class CutSamples:
    """Hold what cut detectors are looked at with.

    Attributes:
        norms: of images to learn from; the norms are measured on them.
        scores: of images to validate on; the plans are scored on them.
    """

    norms: TilePlan
    scores: TilePlan


class ScoredPlan(Value):
    """Say what a plan was worth right after its cut, on the images that plans are scored on."""

    planner: PlannerName
    options: PlanOptions
    macs_share: float
    map50: float
    map50_95: float


def samples_of(dataset: Dataset, recipe: Recipe, contract: ModelContract) -> CutSamples:
    """Take images evenly over both splits, and tiles evenly over those, with a defect and without.

    Raises:
        DatasetError: if one of them is damaged.
    """
    norms, scores = (
        TilePlan(_spread(images, most), contract, dataset.mm_per_px, recipe.cache_mb // 2)
        for images, most in ((dataset.train, NORM_IMAGES), (dataset.val, SCORE_IMAGES))
    )
    for plan, most in ((norms, NORM_TILES), (scores, SCORE_TILES)):
        shown, empty = (
            [tile for tile in plan.tiles if tile.is_empty == is_empty] for is_empty in (False, True)
        )
        plan.tiles = [*_spread(shown, most // 2), *_spread(empty, most // 2)]
    return CutSamples(norms, scores)


def best_plan(
    detector: Detector, plans: Sequence[PruningPlan], samples: CutSamples, device: torch.device
) -> tuple[PruningPlan, tuple[ScoredPlan, ...]]:
    """Cut by each plan, measure the norms again, and take the plan with the highest score.

    Args:
        plans: of equal ones, and of equal scores, the first counts.
    Returns:
        The plan, and what each was worth.
    Raises:
        TrainingError: if a cut detector gives anything but finite numbers.
    """
    different: dict[object, PruningPlan] = {}
    for plan in plans:
        different.setdefault(tuple(plan.kept.items()), plan)
    scored = [(plan, _metrics(detector, plan, samples, device)) for plan in different.values()]
    rows = tuple(
        ScoredPlan(
            planner=plan.planner,
            options=plan.options,
            macs_share=round(plan.macs_share, 4),
            map50=round(metrics.map50, 4),
            map50_95=round(metrics.map50_95, 4),
        )
        for plan, metrics in scored
    )
    best = max(range(len(scored)), key=lambda number: (scored[number][1].fitness, -number))
    for row in rows:
        logger.info("%s", described(row, is_best=row is rows[best]))
    return scored[best][0], rows


def described(row: ScoredPlan, *, is_best: bool) -> str:
    """Say in one line how a plan chose and what it was worth."""
    options = row.options
    return (
        f"right after the cut: mAP50 {row.map50:.3f}, mAP50-95 {row.map50_95:.3f} with {row.planner}, "
        f"{options.importance}, {options.scope}, by {options.round_to}{' <- taken' if is_best else ''}"
    )


def _metrics(detector: Detector, plan: PruningPlan, samples: CutSamples, device: torch.device) -> Metrics:
    module, _ = cut(detector.module, detector.checkpoint.structure, plan)
    measured = with_norms_measured(module, samples.norms, detector.contract, device)
    return validate(measured, samples.scores, detector.contract, device)


def _spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """Return at most so many of some items, evenly over all of them."""
    return items[:: -(-len(items) // most)] if items else items

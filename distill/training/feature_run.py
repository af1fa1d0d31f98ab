"""Hold the training of a backbone's features in memory, write it to `last.pt` and read it back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill.checkpoint import (
    HELD_OUT_LOSS,
    Checkpoint,
    read_checkpoint,
    weights_digest,
    write_checkpoint,
)
from distill.core.precision import Precision, choose_precision
from distill.core.processes import Processes
from distill.core.run_folder import RunFolder
from distill.core.schedule import Schedule
from distill.data.dataset import Dataset
from distill.data.tiles import TilePlan
from distill.detector.build import build_module
from distill.detector.choice import structure_of
from distill.detector.feature_matching import FeatureMatching
from distill.detector.trunk import Trunk, last_maps, load_trunk
from distill.settings.feature_pretraining import FeaturePretraining
from distill.settings.recipe import Recipe
from distill.settings.structure import DetectorStructure
from distill.training.training_run import TrainingState, dataset_digest, optimizer_of
from edge.core.contract import ModelContract
from edge.core.errors import CheckpointError, DatasetError

EVERY_TILE = 1.0
"""No tile has a defect that anybody knows of: each epoch sees all."""


@dataclass(frozen=True)
class FeatureRun:
    """Hold everything that the training works with.

    Attributes:
        module: the whole detector; its neck and head stay as they are.
        backbone: the layers of the module that learn.
        matching: the adapters, which learn beside it.
        trunk: frozen; gives what is to be learnt.
        digests: of the images and of the trunk: a resumed run has the same.
        state: `best_fitness` is the lowest held-out loss, negative.
    """

    recipe: Recipe
    settings: FeaturePretraining
    folder: RunFolder
    device: torch.device
    structure: DetectorStructure
    contract: ModelContract
    train_plan: TilePlan
    held_out_plan: TilePlan
    module: nn.Module
    backbone: nn.Sequential
    matching: FeatureMatching
    trunk: Trunk
    digests: dict[str, str]
    optimizer: torch.optim.Optimizer
    precision: Precision
    scaler: torch.amp.GradScaler
    schedule: Schedule
    state: TrainingState
    processes: Processes

    def loss_parts(self, images: Tensor) -> dict[str, Tensor]:
        """Return the weighted loss of each level for a batch, (B, channels, H, W) float32."""
        with self.precision.autocast():
            theirs = self.trunk(images)
            return self.matching(last_maps(self.backbone, images), theirs)  # type: ignore[no-any-return]

    def epoch_order(self, epoch: int) -> list[int]:
        """Return the tiles of an epoch in the order in which they are shown."""
        return self.train_plan.epoch_order(epoch, self.recipe.seed, EVERY_TILE)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or patience or time has run out."""
        state = self.state
        is_stale = state.epoch - 1 - state.best_epoch >= self.settings.patience_epochs
        return state.epoch >= self.recipe.epochs or is_stale or self.schedule.is_over(state.elapsed_s)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Let the backbone look at images without learning from them.

        Batches are normalised by their own statistics, as in training. The running ones lag behind by some
        hundred steps: by them the first epochs of a small set would seem to gain nothing.
        """
        before = [buffer.clone() for buffer in self.backbone.buffers()]
        try:
            with torch.no_grad():
                yield
        finally:
            for buffer, value in zip(self.backbone.buffers(), before, strict=True):
                buffer.copy_(value)


def prepare_features(
    dataset: Dataset,
    contract: ModelContract,
    recipe: Recipe,
    settings: FeaturePretraining,
    folder: RunFolder,
    processes: Processes,
) -> FeatureRun:
    """Build a run that stands at its beginning.

    Args:
        dataset: of `unlabelled_dataset`.
        recipe: of `Recipe.on_features`.
    Raises:
        MissingPackageError, CheckpointError: as `load_trunk`.
        DatasetError: if an image is damaged.
        ConfigError: as `choose_precision`, or if the batch cannot be split into the processes.
    """
    processes.part_of(recipe.batch)  # before anything long
    device = processes.device
    trunk = load_trunk(settings.trunk, contract)
    plans = [
        TilePlan(images, contract, dataset.mm_per_px, recipe.cache_mb // 2)
        for images in (dataset.train, dataset.val)
    ]
    torch.manual_seed(recipe.seed)  # right before the detector is built: neck and head are as without this
    structure = structure_of(recipe, contract)
    module = build_module(structure).to(device).to(memory_format=torch.channels_last).train()
    backbone = nn.Sequential(*list(module.model)[: len(structure.backbone)])  # type: ignore[arg-type]
    matching = FeatureMatching(_channels(backbone, contract), trunk.channels, settings.level_weights)
    matching.to(device).train()
    precision = choose_precision(recipe.precision, device)
    steps_per_epoch = -(-len(plans[0].tiles) // recipe.batch)
    return FeatureRun(
        recipe=recipe,
        settings=settings,
        folder=folder,
        device=device,
        structure=structure,
        contract=contract,
        train_plan=plans[0],
        held_out_plan=plans[1],
        module=module,
        backbone=backbone,
        matching=matching,
        trunk=trunk.to(device).to(memory_format=torch.channels_last),
        digests={
            "images": dataset_digest(dataset.train + dataset.val),
            "trunk": weights_digest(trunk.state_dict()),
        },
        optimizer=optimizer_of(nn.ModuleList([backbone, matching]), recipe),
        precision=precision,
        scaler=precision.gradient_scaler(),
        schedule=Schedule(
            peak=recipe.learning_rate,
            final_share=recipe.final_learning_rate_share,
            warmup_steps=recipe.warmup_epochs * steps_per_epoch,
            total_steps=recipe.epochs * steps_per_epoch,
            time_limit_s=recipe.time_limit_min * 60 if recipe.time_limit_min else None,
        ),
        state=TrainingState(best_fitness=-math.inf),
        processes=processes,
    )


def save_best(run: FeatureRun, held_out_loss: float) -> None:
    """Write `best.pt`: a detector with these features, and fresh weights behind them."""
    write_checkpoint(run.folder.best, _checkpoint_of(run, {HELD_OUT_LOSS: held_out_loss}, training=None))


def save_last(run: FeatureRun) -> None:
    """Write `last.pt`, from which the run can go on."""
    training = {
        "state": vars(run.state) | {"loss_sums": dict(run.state.loss_sums)},
        "matching": run.matching.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "digests": dict(run.digests),
    }
    write_checkpoint(run.folder.last, _checkpoint_of(run, {}, training))


def restore_features(run: FeatureRun) -> None:
    """Take up the training where `last.pt` left it.

    Raises:
        CheckpointError: if it is missing, damaged, of another run or of another trunk.
        DatasetError: if the images are not those the run was started with.
    """
    checkpoint = read_checkpoint(run.folder.last)
    try:
        saved = dict(checkpoint.training or {})
        _check_digests(run, saved["digests"])
        run.module.load_state_dict(dict(checkpoint.weights))
        run.matching.load_state_dict(saved["matching"])
        run.optimizer.load_state_dict(saved["optimizer"])
        run.scaler.load_state_dict(saved["scaler"])
        run.state.take(TrainingState(**saved["state"]))
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{run.folder.last} does not fit this run: {str(error).splitlines()[0]}.", "Start a new run."
        ) from error


def _check_digests(run: FeatureRun, saved: dict[str, str]) -> None:
    if saved["images"] != run.digests["images"]:
        raise DatasetError(
            "The images to learn features from are not those this run was started with.",
            "Restore them, or start a new run with another --out.",
        )
    if saved["trunk"] != run.digests["trunk"]:
        raise CheckpointError(
            f"The run in {run.folder.path} was started with other weights of {run.settings.trunk}.",
            "Install those again, or start a new run with another --out.",
        )


def _checkpoint_of(
    run: FeatureRun, metrics: dict[str, float], training: dict[str, Any] | None
) -> Checkpoint:
    weights, recipe = run.module.state_dict(), run.recipe.model_dump(mode="json")
    return Checkpoint(run.structure, weights, run.contract, recipe, metrics, training)


def _channels(backbone: nn.Sequential, contract: ModelContract) -> Sequence[int]:
    """Return the channels of a backbone's maps; its statistics stay as they are."""
    example = torch.zeros(1, contract.channels, 32, 32, device=next(backbone.parameters()).device)
    with torch.no_grad():
        maps = last_maps(backbone.eval(), example)
    backbone.train()
    return [level.shape[1] for level in maps]

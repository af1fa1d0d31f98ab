"""Recover a cut detector: train it on, by a recipe of its own, with the labels or under a teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.checkpoint import Checkpoint
from distill.prune.folder import PruneFolder
from distill.prune.settings import PruneSettings
from distill.settings.distillation import Distillation
from distill.settings.recipe import Recipe, load_recipe
from distill.settings.structure import HEAD_OF_FAMILY, HEADS
from distill.training.stages import Stage
from edge.core.contract import Tiles
from edge.core.errors import ConfigError
from edge.core.settings import resolved

EPOCHS_FRACTION, LEAST_EPOCHS_FRACTION = 1 / 3, 1 / 12
"""Without a recipe, all recoveries together get a third of the epochs of the checkpoint's own, and each a
twelfth at least."""

WARMUP_FRACTION = 0.1
"""Most of a recovery that may be warm-up, where the recipe is the checkpoint's own."""


def recovery_recipe(
    checkpoint: Checkpoint, settings: PruneSettings, environment: Mapping[str, str]
) -> Recipe:
    """Return the recipe of each recovery.

    How to train is the named recipe's, or the checkpoint's own with fewer epochs, and the rehearsal is that
    recipe's; what the detector is and what it sees stays as the checkpoint has it.

    Raises:
        ConfigError: if the recipe is missing or wrong, or the checkpoint's own cannot be read.
    """
    flags = {"epochs": settings.epochs, "seed": settings.seed}
    if settings.recipe is not None:
        asked = load_recipe(settings.recipe, environment, flags)
    else:
        asked = _own_recipe(checkpoint, settings)
    values = asked.model_dump() | _of_the_detector(checkpoint)
    if not HEADS[values["head"]].assigners:
        values["assigner"] = None
    recipe = resolved(Recipe, {"The recipe, for this checkpoint": values}).alone()
    if settings.recover == "labels":
        return recipe
    return recipe.model_copy(update={"distillation": asked.distillation or Distillation()})


def stage_of(
    settings: PruneSettings,
    recipe: Recipe,
    checkpoint: Checkpoint,
    source: Path,
    folder: PruneFolder,
    step: int,
) -> Stage:
    """Return the recovery of a step.

    Args:
        checkpoint, source: what is pruned, and its file.
    """
    teachers = {"labels": None, "self": source, None: source, "teacher": Path(settings.teacher or "")}
    return Stage(
        recovered_name(step),
        folder.step(step),
        recipe,
        teacher=teachers[settings.recover],
        start_from=folder.cut(step),
        contract=checkpoint.contract,
    )


def recovered_name(step: int) -> str:
    """Name a recovery in the scorecard."""
    return f"recovered-{step}"


def _own_recipe(checkpoint: Checkpoint, settings: PruneSettings) -> Recipe:
    """Return the checkpoint's recipe with fewer epochs; the defaults if it has none."""
    try:
        own = Recipe.model_validate(dict(checkpoint.recipe))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"The recipe in the checkpoint cannot be read: {'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}.",
            "Name one with --recipe.",
        ) from error
    fraction = max(EPOCHS_FRACTION / settings.most_steps, LEAST_EPOCHS_FRACTION)
    epochs = settings.epochs or math.ceil(own.epochs * fraction)
    changes: dict[str, Any] = {
        "epochs": epochs,
        "warmup_epochs": min(own.warmup_epochs, WARMUP_FRACTION * epochs),
        "sparsity": None,
        "fake_quantisation": None,
    }
    if settings.seed is not None:
        changes["seed"] = settings.seed
    return own.model_copy(update=changes)


def _of_the_detector(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a recipe says of a detector and its input, as this checkpoint has it."""
    structure, contract = checkpoint.structure, checkpoint.contract
    values: dict[str, Any] = {
        "scale": structure.scale,
        "head": HEAD_OF_FAMILY[structure.family],
        "anchors": structure.anchors,
        "reg_max": structure.reg_max,
        "input_size_hw_px": contract.input_size_hw_px,
        "colour_order": contract.colour_order,
        "enhancement": contract.enhancement.model_dump(),
        "mm_per_px": contract.mm_per_px,
    }
    if isinstance(contract.geometry, Tiles):
        values["overlap_px"] = contract.geometry.overlap_px
    return values

"""Build the learning rate schedule of a recipe."""

from __future__ import annotations

from distill.core.schedule import Schedule
from distill.settings.recipe import Recipe


def schedule_of(recipe: Recipe, steps_per_epoch: int) -> Schedule:
    """Build the schedule of a recipe."""
    return Schedule(
        peak=recipe.learning_rate,
        final_share=recipe.final_learning_rate_share,
        warmup_steps=recipe.warmup_epochs * steps_per_epoch,
        total_steps=recipe.epochs * steps_per_epoch,
        time_limit_s=recipe.time_limit_min * 60 if recipe.time_limit_min else None,
    )

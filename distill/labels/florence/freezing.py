"""Choose which weights of a teacher learn."""

from __future__ import annotations

from typing import Any

from torch import nn

from distill.labels.florence.settings import FinetuneSettings
from edge.core.errors import ConfigError

VISION_PARTS = ("vision_tower", "multi_modal_projector")
TEXT_PARTS = ("language_model", "lm_head")


def freeze(model: Any, settings: FinetuneSettings) -> None:
    """Stop the halves that are to stay from learning: their weights, and their adapters if they have any.

    Raises:
        ConfigError: if nothing is left to learn.
    """
    parts = (
        *(VISION_PARTS if settings.freeze_vision else ()),
        *(TEXT_PARTS if settings.freeze_text else ()),
    )
    for name, weight in model.named_parameters():
        if any(part in name.split(".") for part in parts):
            weight.requires_grad_(False)
    if not learning(model):
        raise ConfigError(
            "Nothing is left to learn: every weight is frozen.",
            "Freeze vision or text, not both, and choose lora.targets in the half that learns.",
        )


def learning(model: Any) -> dict[str, nn.Parameter]:
    """Return the weights that learn, by name; tied ones once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

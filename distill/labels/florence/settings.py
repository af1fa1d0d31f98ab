"""Define the settings of fine-tuning and asking the teacher: from TOML, environment and flags.

The defaults are the mill's (LoRA with r 8 and alpha 16 on attention, feed-forward layers and the head,
learning rate 1e-6, nothing frozen, ten epochs): at 3e-6 and 5e-6 its loss diverged, a larger r did
not help, and freezing the vision half made it worse (measured by the mill on 2,672 images).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from distill.core.value import FiniteValue, Fraction

ENVIRONMENT_PREFIX = "LOOMSIGHT_TEACHER_"
"""LOOMSIGHT_TEACHER_EPOCHS=3 sets `epochs`; only plain values, not tables."""

TaskName = Literal[
    "detection", "dense_region_caption", "grounding", "segmentation", "caption", "detailed_caption",
    "more_detailed_caption", "region_to_category", "region_to_description", "region_to_segmentation",
]  # fmt: skip


class LoraSettings(FiniteValue):
    """Say which layers get low-rank adapters, and how large these are (Hu et al., LoRA, 2021).

    Attributes:
        targets: last parts of module names; one that matches nothing is an error.
        dora: split weights into magnitude and direction (Liu et al., DoRA, 2024).
    """

    r: int = Field(default=8, ge=1, le=1024)
    alpha: int = Field(default=16, ge=1, le=4096)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "lm_head", "fc1", "fc2"), min_length=1
    )
    dora: bool = False


class FinetuneSettings(FiniteValue):
    """State everything that decides how a fine-tuning ends, apart from the model and the data.

    Attributes:
        tasks: what is taught, in this order.
        task_order: `blocks` teaches one task on all images, then the next, in every epoch; `interleaved`
            teaches all tasks on an image before the next.
        lora: None trains all weights; `lora = false` in a file.
        freeze_vision, freeze_text: leave that half of the model as it is.
        accumulate: batches whose gradients make one step.
        warmup_share: of all steps, over which the learning rate rises from 0; it then falls as a cosine.
        final_learning_rate_share: what is left of the learning rate at the end.
        gradient_norm_limit: longer gradients are shortened to this.
        precision: `auto` takes bf16 where the device computes in it.
        flip_share: chance of a flip, along each axis on its own; boxes and polygons go with it.
        location_sigma_bins: width of the bell of location tokens that counts as right, and from which those
            that it reads back are drawn; 0 accepts one token, and lets it read the right one.
        divergence_rise: how far the running loss may rise above its lowest, in nats.
        divergence_patience_steps: for so many steps in a row; then training stops.
        validate_every_epochs: the last epoch is always validated.
        validation_pictures: most images that are validated; None takes all.
        time_limit_min: end, with the learning rate brought down, within this time; None has no limit.
    """

    tasks: tuple[TaskName, ...] = Field(
        default=("detection", "dense_region_caption", "grounding"), min_length=1
    )
    task_order: Literal["blocks", "interleaved"] = "blocks"
    lora: LoraSettings | None = LoraSettings()
    freeze_vision: bool = False
    freeze_text: bool = False
    epochs: int = Field(default=10, ge=1, le=100_000)
    batch: int = Field(default=6, ge=1, le=4096)
    accumulate: int = Field(default=1, ge=1, le=1024)
    learning_rate: float = Field(default=1e-6, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    warmup_share: Fraction = 0.0
    final_learning_rate_share: Fraction = 0.1
    gradient_norm_limit: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool = False
    precision: Literal["auto", "bf16", "float32"] = "auto"
    flip_share: Fraction = 0.5
    location_sigma_bins: float = Field(default=0.0, ge=0, le=50)
    divergence_rise: float = Field(default=1.0, gt=0)
    divergence_patience_steps: int = Field(default=30, ge=1)
    validate_every_epochs: int = Field(default=1, ge=1)
    validation_pictures: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=256, ge=8, le=1024)
    time_limit_min: float | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0)

    @field_validator("lora", mode="before")
    @classmethod
    def _switched(cls, lora: object) -> object:
        """TOML has no null, so a switch stands for it."""
        return {True: LoraSettings(), False: None}[lora] if isinstance(lora, bool) else lora

    @field_validator("tasks")
    @classmethod
    def _named_once(cls, tasks: tuple[TaskName, ...]) -> tuple[TaskName, ...]:
        if len(set(tasks)) != len(tasks):
            raise ValueError("each task can be named once")
        return tasks


class AnnotationSettings(FiniteValue):
    """Say how the teacher is asked.

    Attributes:
        vocabulary: classes to find; None leaves the names to the model.
        constrained: allow only tokens that spell the vocabulary and whole boxes; without a vocabulary,
            whole boxes under any name.
        beams: 1 is greedy.
        batch: images or tiles that are answered at once.
        tile_px: side of the tiles that larger images are cut into; None looks at images whole.
        tile_overlap_px: least overlap of neighbouring tiles.
        score_floor: boxes below this are not reported.
        iou_threshold: boxes of one name that overlap more are the same thing.
    """

    vocabulary: tuple[str, ...] | None = None
    constrained: bool = True
    beams: int = Field(default=1, ge=1, le=16)
    batch: int = Field(default=8, ge=1, le=1024)
    max_new_tokens: int = Field(default=256, ge=8, le=1024)
    tile_px: int | None = Field(default=None, ge=32)
    tile_overlap_px: int = Field(default=64, ge=0)
    score_floor: Fraction = 0.0
    iou_threshold: Fraction = 0.7

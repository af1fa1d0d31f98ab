"""Define how a SAM draws outlines, and how its mask decoder is fine-tuned."""

from __future__ import annotations

from pydantic import Field

from distill.core.value import FiniteValue, Fraction


class OutlineSettings(FiniteValue):
    """Say how boxes become outlines.

    Attributes:
        window_px: side of the part of the image around a box that the model looks at, larger where the
            box is; None looks at the whole image. SAM scales what it sees to 1024 px and draws at a
            quarter of that, so a wide strip needs windows.
        batch: boxes of one window that are outlined at once.
        least_area_share: a mask smaller than this fraction of its box is not believed; the box stays.
        least_side_share: likewise where the mask's own box is this much shorter than the prompt along an
            axis.
        most_area_share: likewise where the mask's own box has more than this fraction of the prompt's area.
        least_quality: likewise where the model expects a lower overlap of its mask with the ground truth.
        corner_tolerance_px: an outline may leave the rim of its mask by this much, to need fewer corners.
    """

    window_px: int | None = Field(default=None, ge=32)
    batch: int = Field(default=32, ge=1, le=1024)
    least_area_share: Fraction = 0.05
    least_side_share: Fraction = 0.5
    most_area_share: float = Field(default=1.5, ge=1)
    least_quality: Fraction = 0.0
    corner_tolerance_px: float = Field(default=0.5, ge=0)


class SamFinetuneSettings(FiniteValue):
    """State everything that decides how a fine-tuning ends, apart from the model and the data.

    The loss is that of Segment Anything (Kirillov et al., ICCV 2023, appendix A): focal and dice loss
    20 to 1, and a mean square error of the overlap that the model expects of its mask.

    Attributes:
        window_px: as in `OutlineSettings`.
        batch: windows whose gradients make one step.
        boxes_per_window: most boxes of a window that are learnt from at once, drawn again in each epoch.
        focal_gamma: 0 makes the focal loss a plain binary cross-entropy.
        box_jitter_share: standard deviation of the noise on each side of a prompt, as a fraction of its
            length (0.1 in the paper), at most 20 px.
        warmup_share: of all steps, over which the learning rate rises from 0; it then falls as a cosine.
        gradient_norm_limit: longer gradients are shortened to this.
        cache_mb: memory for what the frozen half makes of the windows; beyond it this is computed again.
    """

    window_px: int | None = Field(default=None, ge=32)
    epochs: int = Field(default=20, ge=1, le=100_000)
    batch: int = Field(default=4, ge=1, le=1024)
    boxes_per_window: int = Field(default=16, ge=1, le=1024)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    final_learning_rate_share: Fraction = 0.05
    warmup_share: Fraction = 0.05
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    focal_weight: float = Field(default=20.0, ge=0)
    focal_gamma: float = Field(default=2.0, ge=0, le=10)
    dice_weight: float = Field(default=1.0, ge=0)
    quality_weight: float = Field(default=1.0, ge=0)
    box_jitter_share: float = Field(default=0.1, ge=0, le=0.5)
    gradient_norm_limit: float = Field(default=1.0, gt=0)
    cache_mb: int = Field(default=4096, ge=0)
    seed: int = Field(default=0, ge=0)

"""Define a recipe: how a detector is trained, as one frozen value from TOML, environment and flags."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from distill.core.value import FiniteValue, Fraction
from distill.settings.anchor_file import read_anchors
from distill.settings.distillation import Distillation, TeacherRecipe
from distill.settings.feature_pretraining import FeaturePretraining
from distill.settings.structure import DEFAULT_REG_MAX, HEADS, Anchors, AssignerName, HeadName, Scale
from distill.settings.tables import (
    Augmentation,
    FakeQuantisation,
    OperatingPoint,
    Pretraining,
    Rehearsal,
    Sparsity,
)
from edge.core.contract import Clahe, Enhancement
from edge.core.errors import ConfigError
from edge.core.settings import environment_values, resolved, toml_values

ENVIRONMENT_PREFIX = "LOOMSIGHT_DISTILL_"
"""LOOMSIGHT_DISTILL_EPOCHS=3 sets `epochs`; only plain values, not tables."""

SHIPPED_RECIPES = ("smoke", "cpu", "mill", "production", "demo", "article", "gid")

Side = Annotated[int, Field(ge=32, multiple_of=32)]


class Recipe(FiniteValue):
    """State everything that decides how a training ends, apart from the data.

    Attributes:
        scale: size of the YOLOv5: p (pico), n, s, m or l.
        head: decoupled (ultralytics' own), yolox, or coupled (classic YOLOv5, with anchors).
        assigner: who says which place answers for which box; None takes the head's own.
        anchors: of the coupled head, (width, height) in pixels of the input, or a file that `loomsight
            anchors` wrote; None takes YOLOv5's own.
        reg_max: bins per side of the decoupled head; a box may have 2 x (reg_max - 1) strides.
        input_size_hw_px, colour_order, enhancement, overlap_px: of the model's contract.
        mm_per_px: size of a pixel on the cloth to train at; None takes the data set's own.
        batch: tiles per step.
        warmup_epochs: over which the learning rate rises from 0; it then falls as a cosine.
        final_learning_rate_share: what is left of the learning rate at the end.
        ema_decay, ema_warmup_steps: of the moving average of the weights that is kept.
        gradient_norm_limit: longer gradients are shortened to this.
        precision: auto takes bf16 where the processor computes in it, amp on CUDA, else float32.
        empty_tile_share: fraction of the tiles without a defect that each epoch sees, drawn again.
        rare_class_share: classes that fewer of the tiles with defects show are shown more often, by the
            root of what is lacking; 0 shows each tile once.
        patience_epochs: stop after so many epochs without a better one; None never stops early.
        time_limit_min: end, with the learning rate brought down, within this time; None has no limit.
        cache_mb: decoded images kept in memory; the others are read again each time.
        workers: processes that prepare tiles; 0 prepares them between the steps.
        distillation: how the detector learns from a teacher; None learns from the labels alone.
        teacher: how a teacher is trained where none is given.
        feature_pretraining: features that the backbone learns first of all; None to leave that out.
        pretraining: simulated cloth that the detector is trained on first; None for none.
        rehearsal: simulated cloth that it sees along with the data set; None for none.
        operating_point: how score thresholds are chosen at the end.
        sparsity: how channels are made easy to prune; None leaves them alone.
        fake_quantisation: how the detector gets used to INT8; None trains it in float.
    """

    scale: Scale = "n"
    head: HeadName = "decoupled"
    assigner: AssignerName | None = None
    anchors: Annotated[Anchors | None, BeforeValidator(read_anchors)] = None
    reg_max: int = Field(default=DEFAULT_REG_MAX, ge=4, le=128)
    input_size_hw_px: tuple[Side, Side] = (256, 256)
    colour_order: Literal["grey", "bgr", "rgb"] = "grey"
    enhancement: Enhancement = Clahe()
    overlap_px: int = Field(default=32, ge=0)
    mm_per_px: float | None = Field(default=None, gt=0)
    epochs: int = Field(default=30, ge=1, le=100_000)
    batch: int = Field(default=16, ge=1, le=4096)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    warmup_epochs: float = Field(default=1.0, ge=0)
    final_learning_rate_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    ema_warmup_steps: int = Field(default=200, ge=1)
    gradient_norm_limit: float = Field(default=10.0, gt=0)
    precision: Literal["auto", "bf16", "float32", "amp"] = "auto"
    augmentation: Augmentation = Augmentation()
    empty_tile_share: Fraction = 0.3
    rare_class_share: Fraction = 0.0
    seed: int = Field(default=0, ge=0)
    patience_epochs: int | None = Field(default=None, ge=1)
    time_limit_min: float | None = Field(default=None, gt=0)
    cache_mb: int = Field(default=2048, ge=0)
    workers: int = Field(default=0, ge=0, le=256)
    distillation: Distillation | None = None
    teacher: TeacherRecipe | None = None
    feature_pretraining: FeaturePretraining | None = None
    pretraining: Pretraining | None = None
    rehearsal: Rehearsal | None = None
    operating_point: OperatingPoint = OperatingPoint()
    sparsity: Sparsity | None = None
    fake_quantisation: FakeQuantisation | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.overlap_px >= min(self.input_size_hw_px):
            raise ValueError("overlap_px must be smaller than input_size_hw_px")
        if self.augmentation.quarter_turn_share and len(set(self.input_size_hw_px)) > 1:
            raise ValueError("augmentation.quarter_turn_share needs a square input_size_hw_px")
        return self

    @model_validator(mode="after")
    def _assigner_has_work(self) -> Self:
        if self.assigner is not None and not HEADS[self.head].assigners:
            raise ValueError(f"head = '{self.head}' matches anchors by their size: leave assigner out")
        return self

    @property
    def is_single_stage(self) -> bool:
        """Whether nothing is trained before the detector, and it has no teacher."""
        tables = (self.distillation, self.pretraining, self.feature_pretraining)
        return all(table is None for table in tables)

    def alone(self) -> Recipe:
        """Return this recipe for a detector that learns from the labels alone."""
        tables = ("distillation", "teacher", "pretraining", "feature_pretraining")
        return self.model_copy(update=dict.fromkeys(tables))

    def without_rehearsal(self) -> Recipe:
        """Return this recipe for a training that sees its data set alone."""
        return self.model_copy(update={"rehearsal": None})

    def on_simulated_cloth(self, pretraining: Pretraining) -> Recipe:
        """Return this recipe for the training that comes before, on simulated cloth."""
        changes = pretraining.model_dump(exclude={"simulation"}, exclude_none=True)
        return self.plain().without_rehearsal().model_copy(update=changes)

    def on_features(self, features: FeaturePretraining) -> Recipe:
        """Return this recipe for the training that comes first of all, of the backbone's features."""
        keys = ("epochs", "learning_rate", "patience_epochs", "time_limit_min")
        changes = {key: getattr(features, key) for key in keys} | {"feature_pretraining": features}
        return self.plain().without_rehearsal().model_copy(update=changes)

    def plain(self) -> Recipe:
        """Return this recipe for learning from the labels alone, for neither cutting nor rounding."""
        return self.alone().model_copy(update={"sparsity": None, "fake_quantisation": None})

    def taught(self) -> Recipe:
        """Return this recipe for a detector with a teacher: as it says, else by the defaults."""
        return self if self.distillation else self.model_copy(update={"distillation": Distillation()})

    def fake_quantised(self) -> Recipe:
        """Return this recipe for a detector that gets used to INT8: as it says, else by the defaults."""
        settings = self.fake_quantisation or FakeQuantisation()
        return self.model_copy(update={"fake_quantisation": settings})

    def of_teacher(self) -> Recipe:
        """Return the recipe of the teacher that is trained for this detector."""
        changes = (self.teacher or TeacherRecipe()).model_dump(exclude_none=True)
        return self.plain().model_copy(update=changes)


def load_recipe(name_or_file: str, environment: Mapping[str, str], flags: Mapping[str, object]) -> Recipe:
    """Read a recipe; what stands later in field < file < environment < flag wins.

    Args:
        name_or_file: one of `SHIPPED_RECIPES`, or a TOML file.
        environment: as `os.environ`.
        flags: by field name; None means the flag was not given.
    Raises:
        ConfigError: if it is missing or not TOML, or a key is unknown or its value not permitted.
    """
    values, source = _read_toml(name_or_file)
    layers = {
        source: values,
        f"the environment ({ENVIRONMENT_PREFIX}*)": environment_values(environment, ENVIRONMENT_PREFIX),
        "the command line": {key: value for key, value in flags.items() if value is not None},
    }
    return resolved(Recipe, layers)


def _read_toml(name_or_file: str) -> tuple[dict[str, Any], str]:
    if name_or_file not in SHIPPED_RECIPES and not Path(name_or_file).is_file():
        raise ConfigError(
            f"There is no recipe {name_or_file}.",
            f"Name a TOML file or one of: {', '.join(SHIPPED_RECIPES)}.",
        )
    if name_or_file not in SHIPPED_RECIPES:
        return toml_values(Path(name_or_file)), name_or_file
    shipped = resources.files("distill").joinpath("recipes").joinpath(f"{name_or_file}.toml")
    with resources.as_file(shipped) as file:
        return toml_values(file), f"the shipped recipe {name_or_file}"

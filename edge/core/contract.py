"""Define the contract of a model: inputs, outputs, classes. It travels in the ONNX file and the bundle.

Everything that must be the same in training, calibration, parity checks and beside the loom is a field
here: a runtime that cannot honour a contract refuses to start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.core.errors import ConfigError, ContractError

CONTRACT_VERSION = 2
"""Raised by every change that an older runtime would misunderstand. 1 knew no fixed batch and no head that
is decoded beside the network; such contracts are read."""

PREPARATION = (
    "input_size_hw_px", "colour_order", "enhancement", "geometry", "normalisation", "mm_per_px"
)  # fmt: skip
"""Fields that say how an image is prepared for the network."""

METADATA_KEY = "loomsight.contract"
"""Key under which the contract stands in the metadata of an ONNX file."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Clahe(_Value):
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994).

    `clip_limit` and `grid_hw` are those of `cv2.createCLAHE`: the clip limit is relative to a flat
    histogram, the grid counts the cells down and across the network's input.
    """

    kind: Literal["clahe"] = "clahe"
    clip_limit: float = Field(default=2.0, gt=0, le=100)
    grid_hw: tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]] = (8, 8)


class GlobalEqualisation(_Value):
    """Plain histogram equalisation over the whole input. It fails beside a bright selvedge."""

    kind: Literal["equalise"] = "equalise"


class NoEnhancement(_Value):
    """Leave grey values as the camera gave them."""

    kind: Literal["none"] = "none"


Enhancement = Annotated[Clahe | GlobalEqualisation | NoEnhancement, Field(discriminator="kind")]


class Tiles(_Value):
    """Cut a frame into overlapping tiles of the network's input size, at the scale of training."""

    kind: Literal["tiles"] = "tiles"
    overlap_px: int = Field(default=32, ge=0)


class Letterbox(_Value):
    """Scale the whole frame into one input, keeping its aspect, for models trained that way."""

    kind: Literal["letterbox"] = "letterbox"


Geometry = Annotated[Tiles | Letterbox, Field(discriminator="kind")]


class Normalisation(_Value):
    """Turn grey values 0..255 into the network's input: (value * scale - mean) / std."""

    scale: float = Field(default=1 / 255, gt=0)
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)


class Outputs(_Value):
    """Name the ports of the network and what they carry.

    `images`: (B, channels, H, W) float32. `boxes`: (B, A, 4) float32, x1 y1 x2 y2 in input pixels.
    `scores`: (B, A, classes) float32 in [0, 1]. A is the number of anchor points.
    """

    layout: Literal["boxes_xyxy_px+scores"] = "boxes_xyxy_px+scores"
    images_port: str = "images"
    boxes_port: str = "boxes_xyxy_px"
    scores_port: str = "scores"

    @property
    def output_ports(self) -> tuple[str, ...]:
        """Names of what the network gives."""
        return self.boxes_port, self.scores_port


class HeadLevel(_Value):
    """Name the ports of one level of a head that is decoded beside the network.

    Each carries a map of logits, (B, values, H / stride, W / stride) float32: `boxes` has 4 x bins values
    for a head with bins and else 4, `scores` one per class, `objectness` 1.
    """

    stride_px: int = Field(ge=1, le=1024)
    boxes_port: str
    scores_port: str
    objectness_port: str | None = None

    @property
    def output_ports(self) -> tuple[str, ...]:
        """Names of its ports."""
        return self.boxes_port, self.scores_port, *([self.objectness_port] if self.objectness_port else [])


class RawOutputs(_Value):
    """Name the ports of a network that ends in its head; `edge.backends.raw_outputs` decodes them.

    Attributes:
        decoding: `distribution`: the distances of a device's sides from its cell are distributions over
            bins (Li et al., Generalized Focal Loss, 2020). `offset`: the centre as an offset from the
            cell's corner, the logarithm of the sides, and an objectness (Ge et al., YOLOX, 2021).
        bins: of a distribution; None for `offset`.
        levels: the finest first.
    """

    layout: Literal["head_levels"] = "head_levels"
    decoding: Literal["distribution", "offset"]
    bins: int | None = Field(default=None, ge=2, le=1024)
    images_port: str = "images"
    levels: tuple[HeadLevel, ...] = Field(min_length=1, max_length=16)

    @property
    def output_ports(self) -> tuple[str, ...]:
        """Names of what the network gives, level by level."""
        return tuple(name for level in self.levels for name in level.output_ports)

    @model_validator(mode="after")
    def _fits_its_decoding(self) -> Self:
        if (self.bins is not None) != (self.decoding == "distribution"):
            raise ValueError("bins belong to the decoding 'distribution', and that has some")
        if any((level.objectness_port is None) != (self.bins is not None) for level in self.levels):
            raise ValueError("each level of the decoding 'offset' has an objectness, others have none")
        if len(set(self.output_ports)) != len(self.output_ports):
            raise ValueError("a port is named twice")
        return self


AnyOutputs = Annotated[Outputs | RawOutputs, Field(discriminator="layout")]


class ModelContract(_Value):
    """State everything a runtime has to know to run one model as it was trained.

    Attributes:
        class_names: in the order of the columns of `scores`.
        input_size_hw_px: height and width of the network's input.
        colour_order: what the channels are; `grey` has one, the others three.
        score_thresholds: per class name; a detection below its threshold is not reported.
        iou_threshold: boxes of one class in one input that overlap more are the same defect.
        mm_per_px: size of a pixel on the cloth the model was trained for; None if it was not known.
        source_digest: sha256 of the checkpoint the model was made from.
        batch: images the network takes at once, neither more nor fewer; None for any number.
    """

    contract_version: int = CONTRACT_VERSION
    taxonomy_version: int = Field(ge=1)
    class_names: tuple[str, ...] = Field(min_length=1)
    input_size_hw_px: tuple[
        Annotated[int, Field(ge=32, le=8192, multiple_of=32)],
        Annotated[int, Field(ge=32, le=8192, multiple_of=32)],
    ]
    colour_order: Literal["grey", "bgr", "rgb"] = "grey"
    enhancement: Enhancement = Clahe()
    geometry: Geometry = Tiles()
    normalisation: Normalisation = Normalisation()
    outputs: AnyOutputs = Outputs()
    score_thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    iou_threshold: float = Field(default=0.5, gt=0, le=1)
    mm_per_px: float | None = Field(default=None, ge=1e-6, le=1000)
    source_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    batch: int | None = Field(default=None, ge=1, le=256)

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return 1 if self.colour_order == "grey" else 3

    def with_thresholds(self, score_thresholds: Mapping[str, float]) -> Self:
        """Return this contract with other thresholds for the classes named.

        Raises:
            ConfigError: if a name is not one of its classes.
        """
        unknown = sorted(set(score_thresholds) - set(self.class_names))
        if unknown:
            raise ConfigError(
                f"No class of this model: {', '.join(unknown)}.",
                f"Its classes: {', '.join(self.class_names)}.",
            )
        merged = {**self.score_thresholds, **score_thresholds}
        return self.model_copy(update={"score_thresholds": merged})

    def prepares_like(self, other: ModelContract) -> bool:
        """Tell whether both networks see the same of an image: one prepared image serves both."""
        return all(getattr(self, name) == getattr(other, name) for name in PREPARATION)

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError("a class is named twice")
        if set(self.score_thresholds) != set(self.class_names):
            raise ValueError("score_thresholds must name every class, and only these")
        if isinstance(self.geometry, Tiles) and self.geometry.overlap_px >= min(self.input_size_hw_px):
            raise ValueError("overlap_px must be smaller than the input")
        return self

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        levels = self.outputs.levels if isinstance(self.outputs, RawOutputs) else ()
        if any(side % level.stride_px for level in levels for side in self.input_size_hw_px):
            raise ValueError("the stride of a level does not divide the input's sides")
        return self


def contract_from_json(text: str, source: str) -> ModelContract:
    """Read a contract.

    Args:
        text: JSON as `ModelContract.model_dump_json` writes it.
        source: name of the file it came from, for the message.
    Raises:
        ContractError: if it is newer than this program, or not a contract.
    """
    try:
        version = _VersionOnly.model_validate_json(text).contract_version
        if version > CONTRACT_VERSION:
            raise ContractError(
                f"{source} has a contract of version {version}; this loomsight reads up to "
                f"{CONTRACT_VERSION}.",
                "Update loomsight on this device, or export the model with this version.",
            )
        return ModelContract.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "contract"
        raise ContractError(
            f"The contract in {source} is not valid: {where}: {first['msg']}.",
            "Export the model again with `loomsight export`.",
        ) from error


class _VersionOnly(BaseModel):
    contract_version: int

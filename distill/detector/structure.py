"""The structure of a detector, as data: what a checkpoint stores instead of a pickled module."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

Scale = Literal["p", "n", "s", "m", "l"]

MAX_CHANNELS = 1024

SCALES: dict[Scale, tuple[float, float, int]] = {
    "p": (0.33, 0.125, MAX_CHANNELS),
    "n": (0.33, 0.25, MAX_CHANNELS),
    "s": (0.33, 0.50, MAX_CHANNELS),
    "m": (0.67, 0.75, MAX_CHANNELS),
    "l": (1.00, 1.00, MAX_CHANNELS),
}
"""Depth factor, width factor and greatest channel count. n to l are YOLOv5's own (yolov5.yaml of
ultralytics); p, "pico", halves n once more: 0.787 M parameters for grey input and three classes."""

ModuleName = Literal["Conv", "C3", "SPPF", "nn.Upsample", "Concat", "Detect"]
"""The only modules a structure may name: a checkpoint from elsewhere must not choose what code runs."""

LayerArgument = bool | int | Literal["nearest", "nc"] | None
Layer = tuple[
    int | tuple[int, ...], Annotated[int, Field(ge=1, le=100)], ModuleName, tuple[LayerArgument, ...]
]
"""From which layer(s), repeats before the depth factor, module, arguments before the width factor."""

YOLOV5_BACKBONE: tuple[Layer, ...] = (
    (-1, 1, "Conv", (64, 6, 2, 2)),  # 0, stride 2
    (-1, 1, "Conv", (128, 3, 2)),  # 1, stride 4
    (-1, 3, "C3", (128,)),
    (-1, 1, "Conv", (256, 3, 2)),  # 3, stride 8
    (-1, 6, "C3", (256,)),
    (-1, 1, "Conv", (512, 3, 2)),  # 5, stride 16
    (-1, 9, "C3", (512,)),
    (-1, 1, "Conv", (1024, 3, 2)),  # 7, stride 32
    (-1, 3, "C3", (1024,)),
    (-1, 1, "SPPF", (1024, 5)),  # 9
)

YOLOV5_HEAD: tuple[Layer, ...] = (
    (-1, 1, "Conv", (512, 1, 1)),
    (-1, 1, "nn.Upsample", (None, 2, "nearest")),
    ((-1, 6), 1, "Concat", (1,)),
    (-1, 3, "C3", (512, False)),  # 13
    (-1, 1, "Conv", (256, 1, 1)),
    (-1, 1, "nn.Upsample", (None, 2, "nearest")),
    ((-1, 4), 1, "Concat", (1,)),
    (-1, 3, "C3", (256, False)),  # 17, stride 8 out
    (-1, 1, "Conv", (256, 3, 2)),
    ((-1, 14), 1, "Concat", (1,)),
    (-1, 3, "C3", (512, False)),  # 20, stride 16 out
    (-1, 1, "Conv", (512, 3, 2)),
    ((-1, 10), 1, "Concat", (1,)),
    (-1, 3, "C3", (1024, False)),  # 23, stride 32 out
    ((17, 20, 23), 1, "Detect", ("nc",)),
)


class DetectorStructure(BaseModel):
    """Describe a detector completely: with the weights, all that is needed to build it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["yolov5-decoupled"] = "yolov5-decoupled"
    scale: Scale
    channels: Literal[1, 3]
    classes: int = Field(ge=1, le=1000)
    backbone: tuple[Layer, ...] = Field(default=YOLOV5_BACKBONE, min_length=1, max_length=200)
    head: tuple[Layer, ...] = Field(default=YOLOV5_HEAD, min_length=1, max_length=200)

    @model_validator(mode="after")
    def _ends_in_detect(self) -> Self:
        if self.head[-1][2] != "Detect":
            raise ValueError("the last layer must be Detect")
        return self

    def as_ultralytics_yaml(self) -> dict[str, object]:
        """Return a fresh dict in the form of ultralytics' model yaml (it writes into what it is given)."""
        return {
            "nc": self.classes,
            "scale": self.scale,
            "scales": {self.scale: list(SCALES[self.scale])},
            "backbone": [_as_list(layer) for layer in self.backbone],
            "head": [_as_list(layer) for layer in self.head],
        }


def _as_list(layer: Layer) -> list[object]:
    source, repeats, module, arguments = layer
    return [list(source) if isinstance(source, tuple) else source, repeats, module, list(arguments)]

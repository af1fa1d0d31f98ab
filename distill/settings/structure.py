"""Define the structure of a detector as data: checkpoints store it instead of a pickled module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, model_validator
from typing_extensions import Self

from distill.core.value import FiniteValue
from edge.core.settings import OneOf

Scale = Literal["p", "n", "s", "m", "l"]


class HeadKind(NamedTuple):
    """Say what a head is.

    Attributes:
        family: with YOLOv5's backbone and neck below it; `distill.detector.losses` builds and teaches it.
        assigners: who may assign its places, the default one first; none for anchors, which are matched to
            boxes by their size.
        has_anchors: whether it has anchors.
    """

    family: str
    assigners: tuple[str, ...]
    has_anchors: bool = False


HEADS: Final[Mapping[str, HeadKind]] = {
    "decoupled": HeadKind("yolov5-decoupled", ("task-aligned", "simota")),
    "yolox": HeadKind("yolov5-yolox", ("simota", "task-aligned")),
    "coupled": HeadKind("yolov5-coupled", (), has_anchors=True),
}
"""decoupled: ultralytics' own, anchor-free, without objectness. yolox: the head of YOLOX (Ge et al., 2021).
coupled: that of classic YOLOv5."""

HEAD_OF_FAMILY: Final[Mapping[str, str]] = {kind.family: name for name, kind in HEADS.items()}

HeadName = Annotated[str, OneOf(HEADS)]
Family = Annotated[str, OneOf(HEAD_OF_FAMILY)]
AssignerName = Annotated[
    str, OneOf(dict.fromkeys(name for kind in HEADS.values() for name in kind.assigners))
]

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
"""The only modules a structure may name: a checkpoint from elsewhere must not choose what code runs.
`Detect` is the place of the head; which head it is, the family says."""

Side = Annotated[float, Field(gt=0, le=65536, allow_inf_nan=False)]
Anchors = Annotated[tuple[tuple[Side, Side], ...], Field(min_length=1, max_length=90)]
"""Width and height in pixels of the network's input, the smallest first."""

YOLOV5_ANCHORS: Anchors = (
    (10, 13), (16, 30), (33, 23),
    (30, 61), (62, 45), (59, 119),
    (116, 90), (156, 198), (373, 326),
)  # fmt: skip
"""Those of classic YOLOv5 for COCO (models/yolov5s.yaml), three a level."""

DEFAULT_REG_MAX = 16
"""Bins per side of the decoupled head, ultralytics' default: a side lies at most 15 strides from a cell."""

LayerArgument = bool | int | Literal["nearest", "nc"] | None
Layer = tuple[
    int | tuple[int, ...], Annotated[int, Field(ge=1, le=100)], ModuleName, tuple[LayerArgument, ...]
]
"""From which layer(s), repeats before the depth factor, module, arguments before the width factor."""

Channels = Annotated[int, Field(ge=1, le=65536)]
Width = tuple[Annotated[str, Field(min_length=1, max_length=200)], Channels, Channels]
"""Name of a convolution in the module, its output channels, its input channels."""

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


class DetectorStructure(FiniteValue):
    """Describe a detector completely: with the weights, all that is needed to build it again.

    Attributes:
        reg_max: bins per side of the decoupled head; the others have none.
        anchors: of the coupled head, as many for each level; the others have none.
        widths: convolutions that have other channels than the scale says, each once; None if none was
            pruned.
    """

    family: Family = "yolov5-decoupled"
    scale: Scale
    channels: Literal[1, 3]
    classes: int = Field(ge=1, le=1000)
    backbone: tuple[Layer, ...] = Field(default=YOLOV5_BACKBONE, min_length=1, max_length=200)
    head: tuple[Layer, ...] = Field(default=YOLOV5_HEAD, min_length=1, max_length=200)
    reg_max: int = Field(default=DEFAULT_REG_MAX, ge=4, le=128)
    anchors: Anchors | None = None
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=10_000)] | None = None

    @property
    def levels(self) -> int:
        """How many maps of the neck the head reads."""
        source = self.head[-1][0]
        return len(source) if isinstance(source, tuple) else 1

    @model_validator(mode="after")
    def _ends_in_detect(self) -> Self:
        if self.head[-1][2] != "Detect":
            raise ValueError("the last layer must be Detect")
        return self

    @model_validator(mode="after")
    def _anchors_belong_to_the_coupled_head(self) -> Self:
        kind = HEADS[HEAD_OF_FAMILY[self.family]]
        if (self.anchors is not None) != kind.has_anchors:
            with_some = " or ".join(kind.family for kind in HEADS.values() if kind.has_anchors)
            raise ValueError(f"anchors belong to family {with_some}, and that has some")
        if self.anchors is not None and len(self.anchors) % self.levels:
            raise ValueError(f"{len(self.anchors)} anchors cannot be split over {self.levels} levels")
        return self

    @model_validator(mode="after")
    def _names_each_width_once(self) -> Self:
        names = [name for name, _, _ in self.widths or ()]
        if len(set(names)) != len(names):
            raise ValueError("widths name a convolution twice")
        return self

    def as_ultralytics_yaml(self) -> dict[str, object]:
        """Return a fresh dict in the form of ultralytics' model yaml (it writes into what it is given)."""
        return {
            "nc": self.classes,
            "reg_max": self.reg_max,
            "scale": self.scale,
            "scales": {self.scale: list(SCALES[self.scale])},
            "backbone": [_as_list(layer) for layer in self.backbone],
            "head": [_as_list(layer) for layer in self.head],
        }


def _as_list(layer: Layer) -> list[object]:
    source, repeats, module, arguments = layer
    return [list(source) if isinstance(source, tuple) else source, repeats, module, list(arguments)]

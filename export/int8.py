"""Quantise to INT8 within a permitted loss: compare ranges, leave the worst layers out until it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx
from onnxruntime.quantization.calibrate import TensorsData
from pydantic import BaseModel, ConfigDict

from edge.core.contract import AnyOutputs
from edge.core.counted import counted
from edge.core.errors import ParityError
from export.graph import convolutions
from export.quantize import Floats, Method, calibrated, quantised
from export.sensitivity import LayerError, answering, sensitivity
from export.yardstick import Yardstick

logger = logging.getLogger(__name__)

MOST_LEFT_OUT = 0.5
"""Fraction of the convolutions. With more than half of them in float32 nothing is won."""


class Int8Options(BaseModel):
    """Say how an INT8 model is made.

    Attributes:
        methods: how ranges are found; the best of them is taken.
        max_drop: most mAP50-95 it may lose, 0..1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: tuple[Method, ...] = ("minmax", "percentile")
    max_drop: float = 0.005


@dataclass(frozen=True, slots=True)
class Trial:
    """Say what an INT8 model of one kind reaches on the validation split."""

    method: Method
    left_out: int
    map50: float
    map50_95: float
    strips_map50_95: float | None = None


@dataclass(frozen=True, slots=True)
class Int8Model:
    """Hold an INT8 model and how it was made.

    Attributes:
        left_out: convolutions that stayed in float32.
        trials: all that were measured; the last is this one.
        layers: what each convolution alone costs, the worst first.
    """

    model: onnx.ModelProto
    left_out: tuple[str, ...]
    trials: tuple[Trial, ...]
    layers: tuple[LayerError, ...]

    def made(self) -> dict[str, object]:
        """Return what the bundle says about it."""
        return {
            "method": self.trials[-1].method,
            "layers_left_out": list(self.left_out),
            "trials": [
                {
                    "method": one.method,
                    "left_out": one.left_out,
                    "map50": one.map50,
                    "map50_95": one.map50_95,
                    **({"strips_map50_95": one.strips_map50_95} if one.strips_map50_95 is not None else {}),
                }
                for one in self.trials
            ],
            "sensitivity": {one.layer: round(one.error, 6) for one in self.layers},
        }


def make_int8(
    model: onnx.ModelProto,
    tiles_nchw: Floats,
    split: Yardstick,
    outputs: AnyOutputs,
    options: Int8Options,
    *,
    strips: Yardstick | None = None,
    tick: Callable[[str], None] = lambda what: None,
) -> Int8Model:
    """Quantise a model; leave out layers until it loses no more than is permitted.

    Args:
        model: float32, of `onnx_model`.
        tiles_nchw: (N, channels, H, W) float32, of the calibration images.
        split: the validation split, and what the float32 model reaches on it.
        strips: real strips, on which the permitted loss holds, too; None where there are none.
        tick: told what is being done.
    Raises:
        ParityError: if it loses more with `MOST_LEFT_OUT` of the layers in float32.
    """
    trials: list[Trial] = []

    def tried(ranges: TensorsData, method: Method, left_out: Sequence[str]) -> onnx.ModelProto:
        tick(f"INT8 by {method}, {counted(len(left_out), 'layer')} left out")
        candidate = quantised(model, ranges, left_out)
        run = answering(candidate, outputs)
        metrics = split.validation.metrics(run)
        on_strips = round(strips.validation.metrics(run).map50_95, 4) if strips is not None else None
        reached = round(metrics.map50, 4), round(metrics.map50_95, 4), on_strips
        trials.append(Trial(method, len(left_out), *reached))
        return candidate

    def lost(one: Trial) -> float:
        drops = [split.map50_95 - one.map50_95]
        if strips is not None and one.strips_map50_95 is not None:
            drops.append(strips.map50_95 - one.strips_map50_95)
        return max(drops)

    ranges, models = {}, {}
    for method in options.methods:
        tick(f"ranges by {method}")
        ranges[method] = calibrated(model, tiles_nchw, method)
        models[method] = tried(ranges[method], method, ())
    best = min(trials, key=lost)
    tick("what each layer costs")
    layers = sensitivity(model, ranges[best.method], split.validation.tiles(8), outputs)
    left_out: list[str] = []
    chosen, reached = models[best.method], best
    while lost(reached) > options.max_drop:
        count = max(1, 2 * len(left_out))
        if count > MOST_LEFT_OUT * len(convolutions(model)):
            raise ParityError(
                f"INT8 loses {100 * lost(reached):.2f} points of mAP50-95 with "
                f"{counted(len(left_out), 'layer')} left out; permitted are {100 * options.max_drop:g}.",
                "Calibrate on more images of this cloth, permit more with --max-drop, train on with "
                "`loomsight distill --fake-quantise`, or export without --int8.",
            )
        left_out = [row.layer for row in layers[:count]]
        chosen = tried(ranges[best.method], best.method, left_out)
        reached = trials[-1]
    ordered = (*(one for one in trials if one is not reached), reached)
    return Int8Model(chosen, tuple(left_out), ordered, tuple(layers))

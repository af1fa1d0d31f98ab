"""How long the convolutions of a detector take at other widths, measured on a runtime.

Each distinct convolution (filter, stride, size of its map) is a tiny ONNX model with its SiLU, timed over a
coarse grid of channels; between the points it is interpolated.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from distill.detector.ported import OPSET
from distill.prune.costs import Costs, Shape, channels_of
from distill.prune.runtimes import Runtime, RuntimeName, runtime_of
from distill.prune.search import least_counts
from distill.prune.stored import read_stored
from distill.prune.timing import interleaved_ms
from edge.backends.probe import processor_name
from edge.errors import ConfigError
from edge.sinks.files import write_whole

logger = logging.getLogger(__name__)

IR_VERSION = 8
GRID_POINTS = 4
ROUNDS = 9

REGISTER = 16
"""Values of float32 in a register of AVX-512: times of widths that are a multiple of it lie on another line
than the rest. Measured on such a Xeon beside other work, ONNX Runtime, one thread: YOLOv5s at half of the
MACs is 1.54 to 1.64 times faster with channels by 8, and 1.63 to 1.77 times with channels by 16."""

REFERENCE, REFERENCE_CHANNELS = Shape((3, 3), 1, (32, 32), (32, 32), 1, 0), 64
"""Timed beside everything else: on a box that has other work, only the ratio to it can be compared over
minutes."""


class ShapeTimes(BaseModel):
    """Hold the times of one distinct convolution.

    Attributes:
        shape: its filter, stride and maps.
        inputs, outputs: channels measured, ascending; `inputs` is empty for a depthwise one, which has as
            many as outputs.
        ms: a row for each number of inputs, in it a time for each number of outputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape
    inputs: tuple[int, ...]
    outputs: tuple[int, ...] = Field(min_length=1)
    ms: tuple[tuple[float, ...], ...]

    def at(self, inputs: int, outputs: int) -> float:
        """Return milliseconds, bilinear between what was measured and constant beyond.

        Multiples of `REGISTER` are compared with such, others with others.
        """
        columns = [_between(outputs, self.outputs, row) for row in self.ms]
        return _between(inputs, self.inputs, columns) if self.inputs else columns[0]


class LatencyTable(BaseModel):
    """Hold the times of all distinct convolutions of a detector, on one runtime of one box.

    Attributes:
        threads: for one inference.
        round_to: the least channels measured are so many, or all.
        overhead_ms: of one call that computes nothing; it is taken off all times.
        reference_ms: of the reference convolution, call included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: RuntimeName
    runtime_version: str
    processor: str
    threads: int
    round_to: int
    overhead_ms: float
    reference_ms: float = Field(gt=0)
    times: tuple[ShapeTimes, ...]

    def lookup(self, costs: Costs) -> dict[str, ShapeTimes]:
        """Return the times of each convolution of a detector, by name.

        Raises:
            ConfigError: if one was not measured.
        """
        by_shape = {times.shape: times for times in self.times}
        found = {}
        for one, shape in zip(costs.graph.convolutions, costs.shapes, strict=True):
            if _distinct(shape) not in by_shape:
                raise ConfigError(
                    f"The latency table knows no convolution like {one.name}: it was measured for another "
                    "detector or another input size.",
                    "Measure it anew.",
                )
            found[one.name] = by_shape[_distinct(shape)]
        return found


def measure_table(
    costs: Costs, *, runtime: RuntimeName, threads: int, round_to: int, rounds: int = ROUNDS
) -> LatencyTable:
    """Time the convolutions of a detector at the widths that pruning could leave.

    Args:
        threads: for one inference; as many as the runtime gets at the box.
    Raises:
        MissingPackageError, BackendError: if the runtime cannot be used.
    """
    on = runtime_of(runtime, threads)
    nothing = on.opened(_nothing_model())
    calls = [lambda _: nothing(np.zeros((1, 1, 1, 1), np.float32)), _reference(on)]
    overhead_ms, reference_ms = (float(one) for one in np.median(interleaved_ms(calls, 50), axis=0))
    times = []
    for shape, (inputs, outputs) in _grids(costs, round_to).items():
        logger.info(
            "%s: %dx%d convolution, stride %d, maps of %dx%d",
            runtime, *shape.kernel_hw, shape.stride, *shape.in_hw,
        )  # fmt: skip
        ms = _measured(on, shape, inputs, outputs, rounds) * reference_ms - overhead_ms
        rows = tuple(tuple(float(value) for value in row) for row in np.maximum(ms, 0.0))
        times.append(ShapeTimes(shape=shape, inputs=inputs, outputs=outputs, ms=rows))
    return LatencyTable(
        runtime=runtime,
        runtime_version=on.version,
        processor=processor_name(),
        threads=threads,
        round_to=round_to,
        overhead_ms=overhead_ms,
        reference_ms=reference_ms,
        times=tuple(times),
    )


def against_reference(
    on: Runtime, runs: Sequence[Callable[[int], object]], rounds: int
) -> NDArray[np.float64]:
    """Time functions in turn with the reference convolution; (functions,), medians of the ratios to it."""
    times = interleaved_ms([*runs, _reference(on)], rounds)
    ratios: NDArray[np.float64] = np.median(times[:, :-1] / times[:, -1:], axis=0)
    return ratios


def write_table(table: LatencyTable, file: Path) -> None:
    """Write a table as JSON.

    Raises:
        OutputError: if it cannot be written.
    """
    write_whole(file, table.model_dump_json(indent=1).encode())


def read_table(file: Path) -> LatencyTable:
    """Read a table.

    Raises:
        ConfigError: if the file is missing or holds none.
    """
    return read_stored(LatencyTable, file, "latency table", "Measure it anew.")


def _distinct(shape: Shape) -> Shape:
    """Return what tells times apart: all but what is learnt beside the filter."""
    return Shape(
        shape.kernel_hw, shape.stride, shape.in_hw, shape.out_hw, shape.groups, values_per_channel=0
    )


def _grids(costs: Costs, round_to: int) -> dict[Shape, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return for each distinct convolution the input and output channels to measure."""
    least, whole = least_counts(costs, round_to), costs.whole
    seen: dict[Shape, tuple[list[int], list[int]]] = {}
    for one, shape in zip(costs.graph.convolutions, costs.shapes, strict=True):
        inputs, outputs = seen.setdefault(_distinct(shape), ([], []))
        outputs += [channels_of(one.outputs, least), channels_of(one.outputs, whole)]
        if not one.depthwise:
            inputs += [channels_of(one.inputs, least), channels_of(one.inputs, whole)]
    return {
        shape: (_grid(inputs, round_to), _grid(outputs, round_to))
        for shape, (inputs, outputs) in seen.items()
    }


def _grid(reached: Iterable[int], round_to: int) -> tuple[int, ...]:
    """Return the least, the most, and multiples of `REGISTER` between; none where none is reached.

    Where the rounding permits widths that are no such multiples, each has such a neighbour.
    """
    numbers = sorted(set(reached))
    if not numbers:
        return ()
    least, most = numbers[0], numbers[-1]
    whole = {int(value // REGISTER) * REGISTER for value in np.linspace(least, most, GRID_POINTS)}
    beside = {number - round_to for number in whole if round_to < REGISTER}
    inside = {number for number in whole | beside if least < number < most}
    return tuple(sorted({least, most} | inside))


def _between(value: int, points: Sequence[int], times: Sequence[float]) -> float:
    """Interpolate along the points that are multiples of `REGISTER`, or along those that are not."""
    alike = [
        number for number, one in enumerate(points) if (one % REGISTER == 0) == (value % REGISTER == 0)
    ]
    chosen = alike or range(len(points))
    return float(np.interp(value, [points[one] for one in chosen], [times[one] for one in chosen]))


def _measured(
    on: Runtime, shape: Shape, inputs: tuple[int, ...], outputs: tuple[int, ...], rounds: int
) -> NDArray[np.float64]:
    """Time all points of a grid in turn; (inputs, outputs), as multiples of the reference."""
    pairs = [(entering, leaving) for entering in inputs or (0,) for leaving in outputs]
    runs = [_opened(on, shape, entering or leaving, leaving) for entering, leaving in pairs]
    return against_reference(on, runs, rounds).reshape(-1, len(outputs))


def _reference(on: Runtime) -> Callable[[int], object]:
    return _opened(on, REFERENCE, REFERENCE_CHANNELS, REFERENCE_CHANNELS)


def _opened(on: Runtime, shape: Shape, inputs: int, outputs: int) -> Callable[[int], object]:
    run = on.opened(_convolution_model(shape, inputs, outputs))
    image = np.random.default_rng(0).standard_normal((1, inputs, *shape.in_hw), np.float32)
    return lambda _round: run(image)


def _convolution_model(shape: Shape, inputs: int, outputs: int) -> bytes:
    """Write a convolution and its SiLU as ONNX."""
    groups = shape.groups or outputs
    drawn = np.random.default_rng(0).standard_normal(
        (outputs, inputs // groups, *shape.kernel_hw), np.float32
    )
    before, after = zip(*(_padding(shape, axis) for axis in (0, 1)), strict=True)
    nodes = [
        onnx.helper.make_node(
            "Conv",
            ["x", "filters", "biases"],
            ["y"],
            group=groups,
            kernel_shape=list(shape.kernel_hw),
            strides=[shape.stride, shape.stride],
            pads=[*before, *after],
        ),
        onnx.helper.make_node("Sigmoid", ["y"], ["gate"]),
        onnx.helper.make_node("Mul", ["y", "gate"], ["z"]),
    ]
    weights = {"filters": drawn / math.sqrt(drawn[0].size), "biases": np.zeros(outputs, np.float32)}
    return _model(nodes, (1, inputs, *shape.in_hw), (1, outputs, *shape.out_hw), weights)


def _nothing_model() -> bytes:
    return _model([onnx.helper.make_node("Identity", ["x"], ["z"])], (1, 1, 1, 1), (1, 1, 1, 1), {})


def _model(
    nodes: list[Any], entering: tuple[int, ...], leaving: tuple[int, ...], weights: dict[str, Any]
) -> bytes:
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "timed",
        [value("x", kind, entering)],
        [value("z", kind, leaving)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    written: bytes = onnx.helper.make_model(
        graph, opset_imports=opset, ir_version=IR_VERSION
    ).SerializeToString()
    return written


def _padding(shape: Shape, axis: int) -> tuple[int, int]:
    """Return how much is padded before and behind so that the maps have their sizes."""
    total = (shape.out_hw[axis] - 1) * shape.stride + shape.kernel_hw[axis] - shape.in_hw[axis]
    return max((total + 1) // 2, 0), max(total // 2, 0)

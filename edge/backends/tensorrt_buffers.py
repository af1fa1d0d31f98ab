"""Plan the buffers of the TensorRT runner, and how batches become runs, before a GPU is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Final

from edge.backends.ports import Port, check_ports, expected_shapes
from edge.backends.tensorrt_engines import BatchProfile, EngineFile
from edge.core.contract import ModelContract, RawOutputs
from edge.core.errors import ContractError

FLOAT32_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class BufferPlan:
    """Hold the shape of each port at the largest batch; the first axis is the batch.

    Attributes:
        shapes: by the port's name, the input first, then what the network gives.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def nbytes(self) -> int:
        """Bytes of all of them in float32."""
        return sum(prod(shape) for shape in self.shapes.values()) * FLOAT32_BYTES


@dataclass(frozen=True, slots=True)
class Run:
    """Say which images of a batch go through the engine together: `start` to `stop`.

    Attributes:
        size: images the engine is given; those past `stop - start` are empty.
    """

    start: int
    stop: int
    size: int


def plan_buffers(
    ports: Mapping[str, Port], contract: ModelContract, batch: BatchProfile, engine_path: Path
) -> BufferPlan:
    """Check an engine's ports against the contract and plan a buffer for each.

    Raises:
        ContractError: if a port is missing, of another type or shape, or of a size that is not known.
    """
    check_ports(ports, contract, engine_path)
    outputs = contract.outputs
    shapes = expected_shapes(contract)
    if not isinstance(outputs, RawOutputs):
        boxes, scores = ports[outputs.boxes_port].shape, ports[outputs.scores_port].shape
        points = boxes[1] if len(boxes) == 3 else None
        if not isinstance(points, int) or scores[1:2] != (points,) or len(scores) != 3:
            raise ContractError(
                f"{engine_path}: the ports give {list(boxes)} boxes and {list(scores)} scores, "
                "which are not of one number.",
                "Export the model again.",
            )
        for name in outputs.output_ports:
            shapes[name] = (points, *shapes[name])
    return BufferPlan(
        {name: (batch.most, *shapes[name]) for name in (outputs.images_port, *outputs.output_ports)}
    )


def plan_runs(count: int, batch: BatchProfile) -> list[Run]:
    """Split so many images into the fewest runs, as even as can be.

    Args:
        count: of images; 0 gives no run.
    """
    runs = ceil(count / batch.most)
    step = ceil(count / runs) if runs else 0
    return [
        Run(start, min(start + step, count), max(min(step, count - start), batch.least))
        for start in range(0, count, step or 1)
    ]


def best_for(count: int, engines: Sequence[EngineFile]) -> EngineFile:
    """Return the engine that is given the fewest images for a batch, empty ones counted.

    Args:
        engines: at least one; of two equals the one with a fixed batch wins, then the first.
    """

    def cost(engine: EngineFile) -> tuple[int, int, bool]:
        batch = engine.manifest.batch
        runs = plan_runs(count, batch)
        return len(runs), sum(run.size for run in runs), not batch.is_fixed

    return min(engines, key=cost)

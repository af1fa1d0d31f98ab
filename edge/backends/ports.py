"""Compare the ports of a network, as a runtime names them, with those of its contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.core.contract import ModelContract, RawOutputs
from edge.core.errors import ContractError


@dataclass(frozen=True, slots=True)
class Port:
    """Describe an input or output of a network.

    Attributes:
        kind: its type as the runtime spells it.
        is_float32: whether that is float32.
        shape: lengths of its axes; anything but a number for one that is not known.
    """

    kind: str
    is_float32: bool
    shape: tuple[object, ...]


def check_ports(ports: Mapping[str, Port], contract: ModelContract, model_path: Path) -> None:
    """See that a network has the ports of its contract.

    Raises:
        ContractError: if one is missing, of another type, or of another shape.
    """
    classes = len(contract.class_names)
    for name, tail in expected_shapes(contract).items():
        port = ports.get(name)
        if port is None or not port.is_float32:
            found = f"is {port.kind}" if port else "is missing"
            raise ContractError(
                f"{model_path}: port '{name}' {found}; the contract wants float32.",
                "Export the model again.",
            )
        shape = port.shape[-len(tail) :]
        if shape != tail:
            raise ContractError(
                f"{model_path}: port '{name}' ends in {list(shape)}; its contract says {list(tail)} "
                f"({classes} classes).",
                "The contract belongs to another model: export it again.",
            )
        if contract.batch is not None and port.shape[:1] != (contract.batch,):
            raise ContractError(
                f"{model_path}: port '{name}' is of the shape {list(port.shape)}; its contract says "
                f"batches of {contract.batch}.",
                "The contract belongs to another model: export it again.",
            )


def expected_shapes(contract: ModelContract) -> dict[str, tuple[int, ...]]:
    """Return how the shape of each port ends, by its name: the input first, then what the network gives."""
    outputs, classes = contract.outputs, len(contract.class_names)
    shapes: dict[str, tuple[int, ...]] = {
        outputs.images_port: (contract.channels, *contract.input_size_hw_px)
    }
    if not isinstance(outputs, RawOutputs):
        return shapes | {outputs.boxes_port: (4,), outputs.scores_port: (classes,)}
    for level in outputs.levels:
        height, width = (side // level.stride_px for side in contract.input_size_hw_px)
        shapes[level.boxes_port] = (4 * (outputs.bins or 1), height, width)
        shapes[level.scores_port] = (classes, height, width)
        if level.objectness_port is not None:
            shapes[level.objectness_port] = (1, height, width)
    return shapes

"""Write what a fine-tuning needs to go on: the weights that learn, and its progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.core.tensor_file import UNREADABLE, first_line, read_tensors, write_tensors
from edge.core.errors import CheckpointError

FORMAT = "loomsight-teacher"
FORMAT_VERSION = 1


@dataclass
class Progress:
    """Say where fine-tuning stands: `batch` steps of `epoch` are done.

    Attributes:
        losses: by name, the sum of the losses of this epoch and their number.
        best: rank of the best epoch so far.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=dict)
    best: tuple[float, float] | None = None

    def count(self, name: str, loss: float) -> None:
        """Add a loss to those of the epoch."""
        sums = self.losses.setdefault(name, [0.0, 0.0])
        sums[0], sums[1] = sums[0] + loss, sums[1] + 1


def write_state(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and primitives under a temporary name, flush them to disk, then rename.

    Raises:
        OutputError: if that is not possible; what stood at `path` stays.
    """
    write_tensors(path, {"format": FORMAT, "format_version": FORMAT_VERSION, **content})


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote; no code is run.

    Raises:
        CheckpointError: if it is missing, damaged or something else.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no {path}.", "Start a fine-tuning first.")
    try:
        content = read_tensors(path)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is damaged ({first_line(error)}).", "Start the fine-tuning again."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not of a teacher's fine-tuning.", "Name the folder of one.")
    if content.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is of format {content.get('format_version')}; this loomsight reads {FORMAT_VERSION}.",
            "Update loomsight.",
        )
    return content

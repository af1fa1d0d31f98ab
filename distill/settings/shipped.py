"""Name the detector that ships with the package, where a checkpoint is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SHIPPED_CHECKPOINT: Final = Path(__file__).parents[1] / "weights" / "any-cloth.pt"
"""The detector of the shipped bundle, as `distill` wrote it; weights of more than one axis are float16."""

SHIPPED: Final = "shipped"
"""Names the detector that ships with the package where a checkpoint is asked for."""


def checkpoint_named(name: str) -> Path:
    """Return the path that a user means: of the shipped detector, or the one that was named."""
    return SHIPPED_CHECKPOINT if name == SHIPPED else Path(name)

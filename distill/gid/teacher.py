"""Load the teacher of a distillation: read, compared with its student's structure, and frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from distill.checkpoint import Detector, load_detector
from edge.core.contract import ModelContract
from edge.core.errors import ConfigError

CURES: Final = {
    "class_names": "Name a --teacher of the same taxonomy, or train one with --teacher train.",
    "colour_order": "Set colour_order in the recipe to the teacher's, or train one with --teacher train.",
    "input_size_hw_px": "Set input_size_hw_px in the recipe to the teacher's, or train one with "
    "--teacher train.",
    "enhancement": "Set [enhancement] in the recipe to the teacher's, or train one with --teacher train.",
    "normalisation": "Train a teacher with --teacher train.",
    "mm_per_px": "Set mm_per_px in the recipe to the teacher's, or train one with --teacher train.",
}
"""What teacher and student must have in common, since both see the same tensor, and what to do if not."""


def load_teacher(path: Path, contract: ModelContract) -> Detector:
    """Read a teacher: in eval mode and frozen, on the processor.

    Args:
        path: of a checkpoint.
        contract: of the student.
    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if it was trained for other classes or another input.
    """
    detector = load_detector(path)
    for name, cure in CURES.items():
        ours, theirs = getattr(contract, name), getattr(detector.contract, name)
        if ours != theirs:
            raise ConfigError(
                f"The teacher {path} has {name} = {_shown(theirs)}, the student {_shown(ours)}.", cure
            )
    return detector


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "not known" if value is None else str(value)

"""Spell the command that comes after a run."""

from __future__ import annotations

import shlex
from pathlib import Path


def export_command(checkpoint: Path, dataset: Path, bundle: Path, *, int8: bool = False) -> str:
    """Return the command that makes a bundle of a checkpoint."""
    val = dataset / "images" / "val"
    words = [
        "loomsight", "export", checkpoint, "--images", val if val.is_dir() else dataset,
        "--data", dataset, *(("--int8",) if int8 else ()), "--out", bundle,
    ]  # fmt: skip
    return shlex.join(map(str, words))


def longer_command(dataset: Path, recipe: str, checkpoint: Path, epochs: int, out: Path) -> str:
    """Return the command that trains a detector on from where it is."""
    words = [
        "loomsight", "distill", dataset, "--recipe", recipe, "--start-from", checkpoint,
        "--epochs", epochs, "--out", out,
    ]  # fmt: skip
    return shlex.join(map(str, words))

"""Spell the command that comes after a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path


def export_command(
    checkpoint: Path, dataset: Path, bundle: Path, *, taxonomy: Path | None, int8: bool = False
) -> str:
    """Return the command that makes a bundle of a checkpoint.

    Args:
        bundle: where it goes; if something is there, the command names a free place beside it.
        taxonomy: file that names the classes of the data set; None for the shipped one.
    """
    val = dataset / "images" / "val"
    words = [
        "loomsight", "export", checkpoint, "--images", val if val.is_dir() else dataset,
        "--data", dataset, *taxonomy_words(taxonomy), *(("--int8",) if int8 else ()),
        "--out", free_place(bundle),
    ]  # fmt: skip
    return shlex.join(map(str, words))


def longer_command(
    dataset: Path, options: Sequence[str], start_from: Path | None, epochs: int, out: Path
) -> str:
    """Return the command that trains a detector longer.

    Args:
        options: of the run, to be repeated.
        start_from: the detector, to train on from where it is; None to start where the run did.
        out: folder of the new run; if something is there, the command names a free place beside it.
    """
    start = () if start_from is None else ("--start-from", start_from)
    words = [
        "loomsight", "distill", dataset, *options, *start, "--epochs", epochs, "--out", free_place(out),
    ]  # fmt: skip
    return shlex.join(map(str, words))


def taxonomy_words(taxonomy: Path | None) -> list[str]:
    """Return the option that names a taxonomy; no words for the shipped one."""
    return [] if taxonomy is None else ["--taxonomy", str(taxonomy)]


def free_place(path: Path) -> Path:
    """Return a path where nothing is yet: this one, or with the first number that is free."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(place for place in chain((path,), numbered) if not place.exists())

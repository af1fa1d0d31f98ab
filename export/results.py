"""Say what a bundle gives against the checkpoint that it was made of, and which command is next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.backends.description import Precision
from edge.cameras.folder import image_files
from edge.core.counted import counted
from export.quality import QualityRow, Reference


def results(
    reference: Reference, rows: Sequence[QualityRow], sizes_bytes: Mapping[Precision, int]
) -> list[str]:
    """Return a line for each model on each runtime: checkpoint -> model, on the same tiles.

    Args:
        sizes_bytes: of each model's file, by precision.
    """
    return [f"checkpoint -> {_line(reference, row, sizes_bytes[row.precision])}" for row in rows]


def _line(reference: Reference, row: QualityRow, size_bytes: int) -> str:
    costs = f"{row.latency.p50_ms:.1f} ms a tile, {size_bytes / 1e6:.1f} MB"
    split = reference.split
    if split is not None and row.map50_95 is not None:
        tiles = counted(len(split.validation.plan.tiles), "validation tile")
        quality = f"mAP50-95 {split.map50_95:.4f} -> {row.map50_95:.4f} on the same {tiles}"
    else:
        tiles = counted(len(reference.tiles_nchw), "sample tile")
        found = counted(row.detections, "detection")
        quality = f"{found}, {100 * row.matched:.1f} % alike on the same {tiles}"
    return f"{row.precision} on {row.runtime}: {quality}; {costs}"


def next_command(bundle: Path, images: Path) -> str:
    """Return the command that shows a bundle at work, on the folder of `images` that holds most of them.

    Args:
        images: folder that `export` searched with all folders below it; `edge-run` reads a single one.
    """
    folders = Counter(file.parent for file in image_files(images))
    camera = folders.most_common(1)[0][0] if folders else images
    words = ["edge-run", "--model", str(bundle), "--camera", str(camera), "--page", "8080"]
    return shlex.join(words)

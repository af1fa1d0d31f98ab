"""Make the checkpoint that ships with the package: half the file, nothing to resume from.

Usage: python -m distill.commands.slim BEST.pt OUT.pt
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from distill.checkpoint import load_detector, write_checkpoint
from distill.commands.options import new_app
from distill.evaluation.scorecard import SCORECARD_NAME, ScorecardRow, append_row, read_rows
from edge.core.files import file_digest
from edge.process.console import run_command

app = new_app()


@app.command()
def slim(
    checkpoint: Annotated[Path, typer.Argument(metavar="BEST", help="Checkpoint of `distill`.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write the small one.")],
) -> None:
    """Write a checkpoint with weights of more than one axis in float16; statistics stay float32."""
    whole = load_detector(checkpoint).checkpoint
    weights = narrowed(whole.weights)
    write_checkpoint(out, replace(whole, weights=weights, training=None))
    _keep_ancestry(checkpoint, out)


def _keep_ancestry(checkpoint: Path, out: Path) -> None:
    """Let the scorecard beside the small checkpoint say what it was made from."""
    digest = file_digest(checkpoint)
    rows = read_rows(checkpoint.parent / SCORECARD_NAME)
    row = next(
        (row for row in reversed(rows) if row.checkpoint_digest == digest and not row.is_export), None
    )
    if row is not None:
        small = ScorecardRow(
            stage="float16 weights",
            parameters=row.parameters,
            macs=row.macs,
            file_size_bytes=out.stat().st_size,
            checkpoint_digest=file_digest(out),
        )
        append_row(out.parent / SCORECARD_NAME, small)


def narrowed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round weights of more than one axis to float16."""
    return {
        name: tensor.to(torch.float16) if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in weights.items()
    }


if __name__ == "__main__":
    run_command(app)

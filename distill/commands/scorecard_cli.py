"""Run `loomsight scorecard`: compare models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.commands.options import new_app
from edge.process.console import configure_logging
from edge.process.terminal import echo

app = new_app()


@app.command()
def scorecard(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or scorecard.jsonl files.")
    ],
    plot: Annotated[
        Path | None, typer.Option(help="Also draw them into this PNG: accuracy over latency.")
    ] = None,
) -> None:
    """Print what models cost and how good they are, side by side.

    The rows of a folder come in the order they were measured, those of a teacher and a student alone in
    it among them.
    """
    configure_logging()
    from distill.core.figures import write_figure
    from distill.training.comparison import draw_comparison, gathered, print_comparison
    from edge.process.whole_table import wide_console

    rows = gathered(runs)
    print_comparison(rows, wide_console())
    if plot is not None:
        write_figure(draw_comparison(rows), plot)
        echo(f"plot  {plot}")

"""The `export` command: make a checked bundle of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge.console import configure_logging, run_command
from edge.errors import ConfigError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A best.pt made by distill.")],
    images: Annotated[
        Path, typer.Option(help="Folder of real pictures of cloth, to compare the models on.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="class=score in place of what training chose; repeat for several classes."),
    ] = None,
    float16_weights: Annotated[
        bool, typer.Option("--float16-weights", help="Half the file; the network computes in float32.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle at --out.")] = False,
) -> None:
    """Make a bundle of a checkpoint: what a box beside a loom runs.

    The exported model is compared with the checkpoint on real pictures first; if it differs, nothing is
    published.
    """
    configure_logging()
    from export.publish import export_bundle  # here, so that --help needs no torch

    thresholds = parse_thresholds(threshold or [])
    published = export_bundle(
        checkpoint,
        images,
        out,
        score_thresholds=thresholds,
        float16_weights=float16_weights,
        overwrite=overwrite,
    )
    parity, latency = published.parity, published.row.latency
    typer.echo(f"bundle     {published.bundle}")
    typer.echo(f"scorecard  {published.scorecard}")
    typer.echo(
        f"parity     {parity.tiles} tiles: boxes within {parity.boxes_max_px:.2g} px, scores within "
        f"{parity.scores_max:.2g}, {parity.detections} detections alike"
    )
    if latency:
        typer.echo(
            f"latency    p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms "
            f"({latency.runtime}, {latency.device}, {latency.precision}, batch {latency.batch})"
        )


def parse_thresholds(texts: list[str]) -> dict[str, float]:
    """Read `class=score` pairs.

    Raises:
        ConfigError: if one is not of that form or its score is outside 0..1.
    """
    thresholds = {}
    for text in texts:
        name, _, score = text.partition("=")
        try:
            thresholds[name] = float(score)
        except ValueError:
            thresholds[name] = -1.0
        if not 0 <= thresholds[name] <= 1:
            raise ConfigError(f"--threshold {text} is not a class and a score.", "Write drop=0.4, 0 to 1.")
    return thresholds


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()

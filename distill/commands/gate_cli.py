"""Run `loomsight gate`: let a new bundle pass only if it is not worse on any article."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from distill.commands.options import new_app
from edge.core.errors import DatasetError, GateError
from edge.process.console import configure_logging
from edge.process.terminal import echo

app = new_app()


@app.command()
def gate(
    before: Annotated[Path, typer.Argument(help="Bundle in use.")],
    after: Annotated[Path, typer.Argument(help="Bundle that is to follow it.")],
    data: Annotated[Path, typer.Option(help="Labels that neither was trained on: FOLDER/held-out.")],
    config: Annotated[Path | None, typer.Option(help="Settings of edge-run as TOML.")] = None,
) -> None:
    """Compare two bundles on held-out labels, at the thresholds that they ship, article by article."""
    configure_logging()
    from distill.evaluation.gate import articles_by_group, compared
    from distill.labels.formats.registry import read_labels
    from edge.config.device import box_from_process
    from edge.core.taxonomy import load_taxonomy

    labels = read_labels(data, load_taxonomy())
    settings = box_from_process(config, {})[0].config
    scores = compared(before, after, labels, articles_by_group(_articles(data)), settings)
    for score in scores:
        echo(score.text())
    worse = [score.article or "all images" for score in scores if score.is_worse]
    if worse:
        raise GateError(
            f"The new bundle is worse on {', '.join(worse)}.",
            "Keep the one in use; look at what it misses with `loomsight labels check` and `edge-run`.",
        )
    thin = sum(score.is_thin for score in scores)
    echo("not worse" + (f"; {thin} of {len(scores)} articles have too few boxes to tell" if thin else ""))


def _articles(data: Path) -> dict[str, str]:
    """Return the article of each group, where the labels come from the office."""
    path = data / "provenance.jsonl"
    if not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return {f"{one['loom']} {one['roll']}"[:200]: str(one["article"] or "") for one in lines}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DatasetError(
            f"{path} is damaged.", "Collect again: `loomsight office collect FOLDER`."
        ) from error

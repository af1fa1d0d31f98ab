"""Print the result of `loomsight teach`: the cloth that was used, the promise, the places to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.config.alarm_budget import Budget
from edge.teach.article_file import SHEET_NAME, ArticleManifest
from edge.teach.learning import reasons_text
from edge.teach.reports import standing_out
from edge.teach.teaching import TaughtArticle


def lines_of(taught: TaughtArticle, out: Path) -> Iterator[str]:
    """Yield the lines that say what came of it."""
    manifest = taught.manifest
    yield f"article    {manifest.article}"
    yield f"cloth      {_cloth(manifest)}"
    yield f"left out   {_left_out(manifest)}"
    yield f"promise    {_promise(manifest)}"
    thresholds = ", ".join(f"{name} {value:g}" for name, value in manifest.score_thresholds.items())
    yield f"thresholds {thresholds}"
    if manifest.places:
        yield f"look at    {out / SHEET_NAME}: the {len(manifest.places)} places nearest to an alarm"
    standing = min(standing_out(taught.calibration.places), len(manifest.places))
    if standing:
        numbers = " ".join(map(str, range(1, standing + 1)))
        places = "place stands" if standing == 1 else "places stand"
        yield (
            f"warning    {standing} {places} far out of the rest. If the sheet shows defects there, teach "
            f"again with --leave-out {numbers}: they hide others as weak."
        )
    if taught.pattern is not None:
        yield f"warning    {taught.pattern.text()}"
    yield f"written    {out}"


def _cloth(manifest: ArticleManifest) -> str:
    cloth = manifest.cloth
    images = f"{cloth.images} image{'' if cloth.images == 1 else 's'}"
    if not cloth.metres:
        return images
    return f"{cloth.metres:.1f} m, {cloth.square_metres:.2f} m², {images}"


def _left_out(manifest: ArticleManifest) -> str:
    reasons = reasons_text(manifest.cloth.left_out)
    count = len(manifest.struck_out)
    struck = f"{count} place{'' if count == 1 else 's'} struck out" if count else ""
    return ", ".join(part for part in (reasons, struck) if part) or "nothing"


def _promise(manifest: ArticleManifest) -> str:
    promise = manifest.promise
    return f"{promise.text()}; the cloth would support {Budget(promise.least, promise.per).text()}"

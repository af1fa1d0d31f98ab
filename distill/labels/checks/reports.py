"""Print tables of findings and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from distill.labels.checks.check import LabelFinding
from distill.labels.checks.stats import SCORE_BINS, Sizes, Stats
from distill.labels.sets.annotations import NOT_TRAINED_ON, LabelSet
from edge.core.counted import counted

SHOWN_GROUPS = 20
NOT_KNOWN = "not known"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as text, columns aligned; numbers to the right."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    is_number = [all(_is_number(row[column]) for row in cells[1:]) for column in range(len(header))]
    aligned = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(aligned)


def report_of_findings(findings: Sequence[LabelFinding]) -> str:
    """Return the findings as a table, grouped as they came."""
    return table(("finding", "file", "detail"), [(f.kind, f.file, f.detail) for f in findings])


def summary_line(label_set: LabelSet, left_out: Mapping[str, str] | None = None) -> str:
    """Return what was read or written in one line.

    Args:
        label_set: exactly that.
        left_out: what was read and not written, file -> one line.
    """
    reviews = Counter(region.review for image in label_set.images for region in image.regions)
    boxes = sum(count for review, count in reviews.items() if review not in NOT_TRAINED_ON)
    aside = [f"{reviews[review]} {review}" for review in ("queued", "rejected") if reviews[review]]
    clean = sum(all(r.review == "rejected" for r in image.regions) for image in label_set.images)
    splits = {image.split for image in label_set.images if image.split}
    counts = [
        f"{split} {sum(image.split == split for image in label_set.images)}"
        for split in ("train", "val", "test")
        if split in splits
    ]
    files = {*label_set.problems, *(left_out or ())}
    parts = [
        counted(len(label_set.images), "image"),
        f"{clean} without a defect",
        counted(boxes, "box"),
        *aside,
        *counts,
    ]
    if label_set.left_out:
        parts.append(f"{len(label_set.left_out)} left out for objects that could not be read")
    return ", ".join([*parts, f"{counted(len(files), 'file')} with problems"])


def report_of_stats(stats: Stats) -> str:
    """Return the counts as tables."""
    splits = list(stats.images)
    rows = [
        ["images", *stats.images.values()],
        ["without a defect", *stats.clean_images.values()],
        *([f"boxes of {name}", *counts.values()] for name, counts in stats.boxes.items()),
    ]
    parts = [
        table(("", *splits), rows),
        table(("class", "category", "boxes"), _categories(stats.categories)),
        _sizes(stats.sizes, None),
        _sizes(stats.sizes, stats.mm_per_px) if stats.mm_per_px else "",
        table(("review", "boxes"), stats.reviews.items()),
        table(("annotator", "boxes"), [(name or NOT_KNOWN, n) for name, n in stats.annotators.items()]),
        table(("score", "boxes"), _scores(stats.scores)) if any(stats.scores) else "",
        _groups(stats.groups),
    ]
    return "\n\n".join(part for part in parts if part.count("\n") > 0)


def _categories(categories: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    return [
        (name, category or NOT_KNOWN, count)
        for name, counts in categories.items()
        for category, count in counts.items()
    ]


def _sizes(sizes: Mapping[str, Sizes], mm_per_px: float | None) -> str:
    """Return the percentiles in pixels, or in millimetres."""
    unit, scale = ("mm", mm_per_px) if mm_per_px else ("px", 1.0)
    header = [f"{side} {name} {unit}" for side in ("width", "height") for name in ("p5", "p50", "p95")]
    rows = [
        (name, *(f"{value * scale:.1f}" for value in (*size.width_px, *size.height_px)))
        for name, size in sizes.items()
    ]
    return table(("class", *header), rows)


def _scores(scores: Sequence[int]) -> list[tuple[str, int]]:
    return [
        (f"{number / SCORE_BINS:.1f} to {(number + 1) / SCORE_BINS:.1f}", count)
        for number, count in enumerate(scores)
    ]


def _groups(groups: Mapping[str, int]) -> str:
    rows: list[tuple[str, int]] = list(groups.items())[:SHOWN_GROUPS]
    text = table((f"group (of {len(groups)})", "images"), rows)
    hidden = len(groups) - len(rows)
    return f"{text}\n... and {hidden} more" if hidden > 0 else text


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()

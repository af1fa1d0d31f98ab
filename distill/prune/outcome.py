"""Say what came of a pruning."""

from __future__ import annotations

from collections.abc import Sequence

from distill.evaluation.scorecard import ScorecardRow
from distill.training.comparison import LEAST_MAP50

UNPRUNED = "unpruned"


def outcome(rows: Sequence[ScorecardRow], digest: str) -> str:
    """Say what the published detector lost or gained against the unpruned one, before -> after.

    Args:
        rows: of the pruning's scorecard.
        digest: of the published checkpoint.
    """
    compared = _before_and_after(rows, digest)
    if compared is None:
        return "how good it is was not measured"
    (before, was), (after, now) = compared
    points = 100 * (now - was)
    macs = f"{before.macs / 1e9:.3f} -> {after.macs / 1e9:.3f} GMACs (ratio {after.macs / before.macs:.2f})"
    quality = f"mAP50-95 {was:.3f} -> {now:.3f} on the same validation tiles"
    if _find_nothing(before, after):
        return f"{macs}; {quality}: it found next to nothing before, and does so now. Train it longer first"
    if now >= was:
        return f"{macs}; {quality}: as good as before or better (+{points:.2f} points)"
    return (
        f"{macs}; {quality}: WORSE than before by {-points:.2f} points. Recover longer with --epochs, "
        "under a better --teacher, or keep more of it with --macs"
    )


def is_as_good(rows: Sequence[ScorecardRow], digest: str) -> bool | None:
    """Tell whether the published detector lost nothing.

    Returns:
        None if that was not measured, or says nothing because there was nothing to lose.
    """
    compared = _before_and_after(rows, digest)
    if compared is None:
        return None
    (before, was), (after, now) = compared
    return None if _find_nothing(before, after) else now >= was


def _find_nothing(*rows: ScorecardRow) -> bool:
    return all(row.map50 is not None and row.map50 < LEAST_MAP50 for row in rows)


def _before_and_after(
    rows: Sequence[ScorecardRow], digest: str
) -> tuple[tuple[ScorecardRow, float], tuple[ScorecardRow, float]] | None:
    """Return the unpruned detector and the published one, each with its mAP50-95."""
    before = next((row for row in rows if row.stage == UNPRUNED), None)
    after = next((row for row in reversed(rows) if row.checkpoint_digest == digest), None)
    if before is None or after is None or before.map50_95 is None or after.map50_95 is None:
        return None
    return (before, before.map50_95), (after, after.map50_95)

"""Say what came of a pruning, and which command is next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from distill.evaluation.scorecard import ScorecardRow
from distill.prune.folder import PruneFolder

UNPRUNED = "unpruned"


def outcome(rows: Sequence[ScorecardRow], digest: str) -> str:
    """Say what the published detector lost or gained against the unpruned one.

    Args:
        rows: of the pruning's scorecard.
        digest: of the published checkpoint.
    """
    before = next((row for row in rows if row.stage == UNPRUNED), None)
    after = next((row for row in reversed(rows) if row.checkpoint_digest == digest), None)
    if before is None or after is None or before.map50_95 is None or after.map50_95 is None:
        return "how good it is was not measured"
    points = 100 * (after.map50_95 - before.map50_95)
    both = f"mAP50-95 {before.map50_95:.3f} before, {after.map50_95:.3f} now"
    macs = f"with {after.macs / before.macs:.2f} of the MACs"
    if after.map50_95 >= before.map50_95:
        return f"{macs} as good as before or better: {both} (+{points:.2f} points)"
    return (
        f"{macs} WORSE than before by {-points:.2f} points: {both}. Recover longer with --epochs, under a "
        "better --teacher, or keep more of it with --macs"
    )


def next_command(folder: PruneFolder, dataset: Path) -> str:
    """Return the command that makes a bundle of the pruned detector, INT8 included."""
    val = dataset / "images" / "val"
    words = [
        "loomsight", "export", folder.best, "--images", val if val.is_dir() else dataset,
        "--data", dataset, "--int8", "--out", folder.path / "bundle",
    ]  # fmt: skip
    return shlex.join(map(str, words))

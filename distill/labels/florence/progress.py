"""Show on stderr how a fine-tuning goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.core.progress import ConsoleListener


class TeacherListener(ConsoleListener):
    """Draw a bar for the steps of the run, or print a line a minute into a log, and one for each epoch."""

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Print the epoch."""
        parts = [f"epoch {row['epoch'] + 1}/{self._epochs}"]
        named = {"loss": "loss", "val_loss": "validation", "map50": "mAP50", "map50_95": "mAP50-95"}
        parts += [f"{name} {row[key]:.3f}" for key, name in named.items() if row[key] is not None]
        self._print("  ".join([*parts, f"{row['seconds']:.0f} s"]))

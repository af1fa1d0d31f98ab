"""Show on stderr how a fine-tuning of a SAM goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.core.progress import ConsoleListener


class SamListener(ConsoleListener):
    """Draw a bar for the steps of the run, or print a line a minute into a log, and one for each epoch."""

    def epoch_done(self, row: Mapping[str, Any]) -> None:
        """Print the epoch."""
        self._print(
            f"epoch {row['epoch'] + 1}/{self._epochs}  loss {row['loss']:.3f}  "
            f"IoU {row['train_iou']:.3f}  validation IoU {row['val_iou']:.3f}  {row['seconds']:.0f} s"
        )

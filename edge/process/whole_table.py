"""Print tables whose values are never cut: they go on in the next line."""

from __future__ import annotations

import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table

WIDE_COLUMNS: Final = 160
"""Where nobody looks at a screen, in a file or a pipe: lines there have no end."""


class WholeTable(Table):
    """Fold what is too long for its column; rich cuts it and writes an ellipsis."""

    def __init__(self, *headings: str, **options: Any) -> None:
        super().__init__(*headings, **options)
        for column in self.columns:
            column.overflow = "fold"

    def add_column(self, *heading: Any, **options: Any) -> None:
        """Add a column; see `Table.add_column`."""
        super().add_column(*heading, **{**options, "overflow": "fold", "no_wrap": False})


def wide_console() -> Console:
    """Return a console as wide as the terminal, or wide where there is none."""
    return Console(width=None if sys.stdout.isatty() else WIDE_COLUMNS)

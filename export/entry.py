"""Entry point of `export`: nothing here takes time to import."""

from __future__ import annotations

from edge.commands.entry import begin


def export() -> None:
    """Entry point of `export`."""
    begin("export.cli", "main")

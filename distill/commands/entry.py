"""Entry points of `distill` and `prune`: nothing here takes time to import."""

from __future__ import annotations

from edge.commands.entry import begin


def distill() -> None:
    """Entry point of `distill`."""
    begin("distill.commands.distill_cli", "main")


def prune() -> None:
    """Entry point of `prune`."""
    begin("distill.commands.prune_cli", "main")

"""What went wrong with single files while the rest went on."""

from __future__ import annotations

from collections.abc import Mapping


class Problems:
    """Collect problems by file, each one line.

    Args:
        earlier: those of the steps before.
    """

    def __init__(self, earlier: Mapping[str, str] | None = None) -> None:
        self._lines = {file: [line] for file, line in (earlier or {}).items()}

    def add(self, file: str, problem: str) -> None:
        """Note a problem; several of one file are put on one line."""
        self._lines.setdefault(file, []).append(" ".join(problem.split()))

    def by_file(self) -> dict[str, str]:
        """Return file -> one line."""
        return {file: "; ".join(lines) for file, lines in self._lines.items()}

"""Collect what went wrong with single files while the rest went on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_LINES = 20
"""So many problems of one file are shown; a damaged one may have thousands."""

MOST_LETTERS = 300
"""Of one problem."""


class Problems:
    """Collect problems and notes by file, each one line.

    A problem is what could not be read; a note is what was read as something else.

    Args:
        problems: those of the steps before.
        notes: the same.
    """

    def __init__(
        self, problems: Mapping[str, str] | None = None, notes: Mapping[str, str] | None = None
    ) -> None:
        self._problems = {file: [line] for file, line in (problems or {}).items()}
        self._notes = {file: [line] for file, line in (notes or {}).items()}

    def add(self, file: str, problem: str) -> None:
        """Add a problem; several of one file are put on one line."""
        self._problems.setdefault(file, []).append(_one_line(problem))

    def note(self, file: str, note: str) -> None:
        """Add a note; several of one file are put on one line."""
        self._notes.setdefault(file, []).append(_one_line(note))

    def by_file(self) -> dict[str, str]:
        """Return the problems, file -> one line."""
        return {file: _joined(lines) for file, lines in self._problems.items()}

    def notes_by_file(self) -> dict[str, str]:
        """Return the notes, file -> one line."""
        return {file: _joined(lines) for file, lines in self._notes.items()}


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]}..."


def _joined(lines: Sequence[str]) -> str:
    rest = len(lines) - MOST_LINES
    return "; ".join([*lines[:MOST_LINES], *([f"and {rest} more"] if rest > 0 else [])])

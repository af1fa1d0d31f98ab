"""What went wrong with single files while the rest went on."""

from __future__ import annotations

from collections.abc import Mapping


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
        self._problems.setdefault(file, []).append(" ".join(problem.split()))

    def note(self, file: str, note: str) -> None:
        """Add a note; several of one file are put on one line."""
        self._notes.setdefault(file, []).append(" ".join(note.split()))

    def by_file(self) -> dict[str, str]:
        """Return the problems, file -> one line."""
        return {file: "; ".join(lines) for file, lines in self._problems.items()}

    def notes_by_file(self) -> dict[str, str]:
        """Return the notes, file -> one line."""
        return {file: "; ".join(lines) for file, lines in self._notes.items()}

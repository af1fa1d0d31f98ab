"""Run the real commands in this process: out comes an exit code, or the error that nobody foresaw."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from edge.commands.loomsight import all_commands
from edge.core import errors
from edge.process.console import run_command

UNDOCUMENTED = {errors.InternalError.exit_code}
DOCUMENTED = {0, 1, 2, errors.INTERRUPTED_EXIT_CODE} | {
    one.exit_code for one in errors.LoomsightError.__subclasses__() if one.exit_code not in UNDOCUMENTED
}
"""Exit codes that may come out, whatever goes in: see the table of docs/exit-codes.md."""


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def is_documented(self) -> bool:
        """Whether it ended as the documentation says: a failure by a line that begins with `error:`."""
        lines = self.stderr.strip().splitlines()
        if self.code in (0, 1, 2):
            return "Traceback" not in self.stderr
        is_said = bool(lines) and (lines[-1].startswith("error: ") or lines[-1] == "interrupted")
        return self.code in DOCUMENTED and is_said and "Traceback" not in self.stderr


def outcome_of(words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run `loomsight WORDS` in a folder.

    Args:
        words: of the command line; the first one is the command.
        folder: to run in.
        environment: besides that of this process.
    Raises:
        Exception: whatever nobody foresaw: the tests run without the last resort.
    """
    app = all_commands()[words[0]].load()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", [f"loomsight {words[0]}", *words[1:]]))
        stack.enter_context(
            mock.patch.dict(os.environ, {**(environment or {}), "LOOMSIGHT_TRACEBACK": "1"})
        )
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(_inside(folder))
        try:
            run_command(app)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
    return Outcome(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _inside(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)

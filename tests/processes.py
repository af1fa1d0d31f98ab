"""The real commands in processes of their own, as a person starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

MAIN = "from edge.commands.loomsight import main; main()"
LONGEST_S = 600
"""A busy processor may take minutes for what takes seconds on an idle one."""


def program(*words: object, before: str = "") -> list[str]:
    """Return what starts `loomsight WORDS`.

    Args:
        words: of the command line; the first one is the command.
        before: Python that the process runs first.
    """
    return [sys.executable, "-c", before + MAIN, *map(str, words)]


def loomsight(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `loomsight WORDS` to its end.

    Args:
        words: of the command line.
        options: for `subprocess.run`; `env` comes on top of the environment of the tests.
    """
    options["env"] = {**os.environ, **options.get("env", {})}
    given = {"capture_output": True, "text": True, "timeout": LONGEST_S, "check": False, **options}
    return subprocess.run(program(*words), **given)

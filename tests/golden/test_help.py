"""The help of every command, word for word: a flag that goes, or changes its meaning, shows in a diff."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edge.commands.loomsight import all_commands
from tests.golden.stored import CURE

WIDTH = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}


def printed(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from edge.commands.loomsight import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **WIDTH},
    )
    return done.stdout


@pytest.mark.parametrize("name", ["loomsight", *all_commands()])
def test_help(name, stored):
    now = printed("--help") if name == "loomsight" else printed(name, "--help")
    assert now == stored.text(f"help/{name}.txt", now), CURE

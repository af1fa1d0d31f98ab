"""The text of `--help` of every command and script, which is there before anything heavy is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from edge.commands.loomsight import all_commands
from tests.golden.stored import CURE

WIDTH = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
HEAVY = {"numpy", "cv2", "onnxruntime", "openvino", "torch", "ultralytics", "onnx"}
OWN = ("edge.", "distill.", "export.")
SCRIPTS = [one for one in entry_points(group="console_scripts") if one.value.startswith(OWN)]


def printed(module: str, function: str, *arguments: str) -> str:
    """Return the help that a process prints; it fails if it had to import something heavy for it."""
    program = (
        f"import sys; sys.argv = ['loomsight', *{arguments!r}, '--help']\n"
        f"from {module} import {function}\n"
        f"try: {function}()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **WIDTH}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["loomsight", *all_commands()])
def test_help(name, stored):
    now = printed("edge.commands.loomsight", "main", *([] if name == "loomsight" else [name]))
    assert now == stored.text(f"help/{name}.txt", now), CURE


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_explains_itself(script):
    assert "Usage:" in printed(script.module, script.attr)

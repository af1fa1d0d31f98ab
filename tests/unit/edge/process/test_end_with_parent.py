"""A command that another process started ends with it, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

CHILD = "import sys, time; from edge.process.commands import end_with; end_with(int(sys.argv[1])); {then}"
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=1)
child.wait()
"""
WAITS = "print('ready', flush=True); time.sleep(600)"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_ends_with_its_parent(number):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD.format(then=WAITS)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout.readline() == "ready\n"
        os.kill(parent.pid, number)
        assert parent.stdout.read() == ""  # the child had the other end, and is gone


def test_a_child_whose_parent_is_gone_already_ends_at_once():
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(then="print('went on')"), str(os.getpid() + 1)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")

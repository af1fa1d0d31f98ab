"""The limit on memory of the process that proves a network."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKE = """
import resource
from edge.backends.memory_guard import limit_memory
if {hard}:
    resource.setrlimit(resource.RLIMIT_DATA, ({hard}, {hard}))
limit_memory(2**28)
try:
    taken = bytearray({mib} * 2**20)
except MemoryError:
    print("refused")
else:
    print("taken")
"""


@pytest.mark.parametrize(
    ("mib", "hard", "expected"),
    [(200, 0, "taken"), (300, 0, "refused"), (300, 2**31, "refused"), (200, 2**28, "taken")],
    ids=["less", "more", "within another limit", "another limit is lower and stays"],
)
def test_what_asks_for_more_than_the_limit_fails(mib, hard, expected):
    done = subprocess.run(
        [sys.executable, "-c", TAKE.format(mib=mib, hard=hard)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [expected]

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "benchmarks" / "frame_trace.py"


def test_the_trace_of_a_frame_names_what_it_enters():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--metres", "0.6"], capture_output=True, text=True, check=True, timeout=300
    )
    entries = json.loads(done.stdout)
    assert {
        "cameras.capture",
        "inference.inspector",
        "pipeline.ledger",
        "sinks.jsonlines",
    } <= entries.keys()
    assert done.stderr.splitlines()[-1] == f"{len(entries)} modules, {sum(entries.values())} entries"

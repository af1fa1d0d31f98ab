"""No script under docs/benchmarks rots: each starts with what it imports today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "docs" / "benchmarks"
ELSEWHERE = {"others.py"}
"""Run in an environment with anomalib."""

PROGRAM = """
import contextlib, io, runpy, sys, traceback
from pathlib import Path

folder = Path(sys.argv[1])
sys.path[:0] = [str(folder), str(folder.parents[1])]
for name in sys.argv[2:]:
    sys.argv = [name, "--help"]
    help_text = io.StringIO()
    try:
        start = runpy.run_path(str(folder / name), run_name="started")
        if "argparse" in start:
            with contextlib.redirect_stdout(help_text):
                start["main"]()
            print(f"{name}: main did not show its help")
    except SystemExit as end:
        if end.code or not help_text.getvalue().startswith("usage: "):
            print(f"{name}: ended with {end.code}")
    except BaseException:
        print(f"{name}: {traceback.format_exc(limit=-1)}")
"""


def test_every_script_starts_and_shows_its_help():
    names = sorted(
        path.name for path in SCRIPTS.glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")
    )
    assert len(names) > 20
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, SCRIPTS, *(name for name in names if name not in ELSEWHERE)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr

"""No script under docs/benchmarks rots: each starts with what it imports today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "docs" / "benchmarks"
ELSEWHERE = {"others.py"}
"""Run in an environment with anomalib."""

SOAK = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import soak

words = ["--camera", sys.argv[2], "--config", sys.argv[3], "--verbose", "--page", "0"]
process = subprocess.Popen([*soak.EDGE_RUN, *words], stderr=subprocess.PIPE, text=True)
watch = soak.Watch(process)
process.wait()
while watch.thread.is_alive():
    time.sleep(0.01)
print(bool(watch.page), bool(watch.health), len(watch.latencies) > 0)
"""

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


def test_the_soak_reads_page_health_and_times_from_what_a_run_says(tmp_path):
    (tmp_path / "box.toml").write_text("health_port = 0\n")
    cloth = "loom:seed=1,width_px=256,length_m=0.2,defects_per_m=0"
    done = subprocess.run(
        [sys.executable, "-c", SOAK, SCRIPTS, cloth, tmp_path / "box.toml"],
        capture_output=True, text=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["True True True"], done.stderr

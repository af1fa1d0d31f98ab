"""The benchmark of kinds over a small simulated set: its counts add up, and the rules are mostly right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.processes import loomsight

ROOT = Path(__file__).parents[2]


def test_kinds_on_a_small_simulated_set(tmp_path):
    flags = "--images 8 --seed 77 --split train=1 --defects-per-m 40 --defect-share 1 --size-hw 256 768"
    flags += " --difficulty clear --category hole --category stain"
    done = loomsight("simulate", "--out", tmp_path / "cloth", *flags.split(), "--category", "broken end")
    assert done.returncode == 0, done.stderr
    script, out = ROOT / "docs" / "benchmarks" / "kinds.py", tmp_path / "kinds.json"
    benchmark = subprocess.run(
        [sys.executable, script, out, "--simulated", tmp_path / "cloth", "--without-detector"],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert benchmark.returncode == 0, benchmark.stderr
    assert benchmark.stdout.startswith("| Set |")
    result = json.loads(out.read_text())["cloth"]["ground-truth boxes"]
    assert set(result["confusion"]) == {"broken end", "hole", "stain"}
    said = [count for row in result["confusion"].values() for count in row.values()]
    assert sum(said) == result["defects"] == result["found"] >= 8
    assert result["right"] >= 0.8 * result["named"] >= 0.8 * 0.6 * result["found"]

"""Measure the processor time of `pseudo-label` with a detector and of `edge-run` on the same images.

    python docs/benchmarks/pseudo_label_speed.py IMAGES OUT.json [--rounds 3]

Both look at every image with the shipped detector, in turn, each in a process of its own from its start to
its end: imports, loading and writing count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from commands import LOOMSIGHT

CHECKPOINT = Path(__file__).parents[2] / "distill" / "weights" / "any-cloth.pt"
EDGE_RUN = "from edge.commands.run_cli import main; main()"


def user_seconds(code: str, *arguments: str) -> float:
    """Run a line of Python in a process; return the processor time of it and its children in user mode."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, env=environment
    )
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def measured(images: Path, folder: Path, number: int) -> dict[str, float]:
    """Run all commands once; return the seconds of each."""
    common = ["--mm-per-px", "0.2"]
    label = ["pseudo-label", str(images), *common]
    return {
        "edge-run": user_seconds(
            EDGE_RUN, "--camera", str(images), *common, "--threads", "1",
            "--detections", str(folder / f"{number}.jsonl"),
        ),
        "pseudo-label --detector": user_seconds(
            LOOMSIGHT, *label, "--detector", str(CHECKPOINT), "--out", str(folder / f"{number}-detector")
        ),
        "pseudo-label --reference self": user_seconds(
            LOOMSIGHT, *label, "--reference", "self", "--out", str(folder / f"{number}-reference")
        ),
    }  # fmt: skip


def main() -> None:
    """Write the medians of all rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds = [
            measured(wanted.images.resolve(), Path(folder), number) for number in range(wanted.rounds)
        ]
    seconds = {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}
    result = {
        "images": len(list(wanted.images.glob("*.png"))),
        "median_user_s": seconds,
        "rounds": [{name: round(value, 2) for name, value in one.items()} for one in rounds],
        "torch": import_module("torch").__version__,
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    wanted.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

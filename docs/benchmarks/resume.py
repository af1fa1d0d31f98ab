"""Kill a labelling job with SIGKILL, let it go on, and compare it byte for byte with one left alone.

Usage: python docs/benchmarks/resume.py OUT.json [--images 2000] [--ray]
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import LOOMSIGHT, start
from simulated_annotators import write_ground_truth

from distill.labels.formats.registry import read_labels
from edge.core.taxonomy import load_taxonomy

CLOTH = ("--size-hw", "128", "128", "--defects-per-m", "10", "--split", "train=0.97,val=0.03")
MANNERS = {"steady": 0.01, "loose": 0.01}
"""Annotators, and how long each takes for an image, in seconds."""
KILLED_AT = (0.15, 0.6)
"""Fractions of the shards of the second annotator; the job is killed there, one after the other."""


def main() -> None:
    """Run both jobs; print what differs and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--ray", action="store_true", help="on a local Ray cluster")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), arguments.images, ["--ray", "--workers", "2"] if arguments.ray else [])
    text = json.dumps(result, indent=1)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def run(folder: Path, images: int, extra: Sequence[str]) -> dict[str, Any]:
    """Label twice, once disturbed."""
    total = ("--images", str(round(images / 0.97)), "--seed", "7201", "--workers", "2")
    finish(start(folder, LOOMSIGHT, "simulate", "--out", "cloth", *total, *CLOTH))
    write_ground_truth([read_labels(folder / "cloth", load_taxonomy())], folder / "truth.json")
    (folder / "engine.toml").write_text(settings_text(folder / "truth.json"), encoding="utf-8")
    finish(start(folder, LOOMSIGHT, *job("alone", extra)))
    kills: list[int] = []
    shards = len(list(folder.glob("alone/answers/loose-*/images/*.jsonl")))
    for fraction in KILLED_AT:
        resume = ["--resume"] if kills else []
        process = start(folder, LOOMSIGHT, *job("killed", extra), *resume)
        wait_for(folder, round(fraction * shards), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills.append(len(list(folder.glob("killed/answers/*/images/*.jsonl"))))
    finish(start(folder, LOOMSIGHT, *job("killed", extra), "--resume"))
    ours, theirs = (files_of(folder / name) for name in ("killed", "alone"))
    return {
        "images": len(list(folder.glob("cloth/images/train/*.png"))),
        "on": "ray" if extra else "one process",
        "shards_of_an_annotator": shards,
        "shards_there_at_each_kill": kills,
        "files": len(theirs),
        "files_that_differ": sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n)),
    }


def settings_text(ground_truth: Path) -> str:
    """Return the settings of the engine."""
    rows = ["shard_pictures = 32"]
    for name, pause_s in MANNERS.items():
        rows += [
            "[[annotators]]", 'kind = "python"', f'name = "{name}"',
            'model = "simulated_annotators:annotator"',
            f"settings = {{truth = {json.dumps(str(ground_truth))}, pause_s = {pause_s}}}",
        ]  # fmt: skip
    return "\n".join(rows) + "\n"


def job(out: str, extra: Sequence[str]) -> list[str]:
    """Return the arguments of a job."""
    return ["pseudo-label", "cloth/images/train", "--settings", "engine.toml", "--out", out, *extra]


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that is to succeed."""
    if process.wait():
        raise SystemExit(f"{process.args!r} left with {process.returncode}")


def wait_for(folder: Path, shards: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many shards of the second annotator are there."""
    while len(list(folder.glob("killed/answers/loose-*/images/*.jsonl"))) < shards:
        if process.poll() is not None:
            raise SystemExit("the job ended before it could be killed")
        time.sleep(0.02)


def files_of(folder: Path) -> dict[str, bytes]:
    """Read all files of a job."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


if __name__ == "__main__":
    main()

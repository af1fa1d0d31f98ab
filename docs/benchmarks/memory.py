"""Watch the resident memory of a long run.

Usage: python docs/benchmarks/memory.py FRAMES OUT.json [EDGE-RUN FLAGS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLE_S = 0.5
PAGE_BYTES = 4096


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * PAGE_BYTES / 2**20


def lines_in(path: Path, seen_bytes: int) -> tuple[int, int]:
    """Count the lines written since the last look; return them and where to look next."""
    if not path.exists():
        return 0, 0
    with path.open("rb") as stream:
        stream.seek(seen_bytes)
        data = stream.read()
    return data.count(b"\n"), seen_bytes + len(data)


def watch(frames: int, flags: list[str]) -> list[tuple[int, float]]:
    """Run edge-run for so many frames and sample (frames done, MiB) while it runs."""
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "detections.jsonl"
        command = ["edge-run", "--frames", str(frames), "--detections", str(out), *flags]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        done = seen_bytes = 0
        while process.poll() is None:
            new, seen_bytes = lines_in(out, seen_bytes)
            done += new
            samples.append((done, resident_mib(process.pid)))
            time.sleep(SAMPLE_S)
    if process.returncode:
        sys.exit(process.returncode)
    return [sample for sample in samples if sample[1]]


def main() -> None:
    """Print and write memory at a tenth of the run and at its end, and their ratio."""
    frames, out, flags = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    samples = watch(frames, flags)
    early = next(mib for done, mib in samples if done >= frames // 10)
    late_frame, late = samples[-2]  # the last one may see the process on its way out
    result = {
        "command": " ".join(["edge-run", "--frames", str(frames), *flags]),
        "frames": frames,
        "resident_mib_at_a_tenth": round(early, 2),
        "resident_mib_at_the_end": round(late, 2),
        "last_sample_at_frame": late_frame,
        "growth": round(late / early - 1, 4),
        "samples": [[done, round(mib, 1)] for done, mib in samples[:: max(1, len(samples) // 50)]],
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{early:.1f} MiB at frame {frames // 10}, {late:.1f} MiB at the end: {result['growth']:+.2%}")


if __name__ == "__main__":
    main()

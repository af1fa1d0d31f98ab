"""Run as a program: kill a writer of a roll record again and again; print what it had acknowledged.

Each writer is a forked child that records defects and names their ids on a pipe once they are announced.
`kill_writer.py RECORD KILLS SEED [BLOCKS]`: every so many blocks the roll changes.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead


class Lines:
    """Stand in for an image: the account of the coverage asks only how many lines it has."""

    shape = (50, 10)

    def __len__(self):
        return 50


def write(record: Path, out: int, blocks: int) -> None:
    """Record one defect after the other, until killed; every third block of lines is missing."""

    def announce(defects, events):
        os.write(out, b"".join(f"{one.event_id}\n".encode() for one in (*defects, *events)))

    coverage, head = Coverage(), RollHead("kill", "0" * 64, {})
    with RollRecorder(record, head, announce=announce) as recorder:
        for number in range(10**6):
            first_line = number * 50 + number // 3 * 50
            position = FramePosition(first_line / 1000, 1.0, 1.0)
            coverage.passed(Frame(number, Lines(), 0.0, "kill", position))
            recorder.event("tick", str(number))
            recorder.add([ClothDefect("broken", 0.9, number, number + 0.1, 0, 5)], coverage, 1500.0)
            if blocks and number % blocks == blocks - 1:
                recorder.change_roll(coverage, 1500.0, head, "signal")
                coverage = coverage.following()


def acknowledged(record: Path, rng: random.Random, blocks: int) -> list[str]:
    """Start a writer, kill it while it starts or after its first word, return the ids it named whole."""
    source, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        write(record, out, blocks)
        os._exit(1)
    os.close(out)
    if rng.random() < 0.8:
        select.select([source], [], [], 30)
    time.sleep(rng.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    with os.fdopen(source) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    return [line for line in text.splitlines() if len(line) == 32]


def main() -> None:
    """Kill as often as told."""
    record, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng, blocks = random.Random(seed), int((sys.argv[4:] or ["0"])[0])
    ids = [one for _ in range(kills) for one in acknowledged(record, rng, blocks)]
    print(json.dumps(ids))


if __name__ == "__main__":
    main()

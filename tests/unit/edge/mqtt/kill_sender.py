"""Run as a program: kill a run that records and sends, again and again; print what it had announced.

`kill_sender.py RECORD KILLS SEED BROKER CA_FILE USER`, with the password in the environment.
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

from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect
from edge.config.mqtt import MqttSettings, password_of
from edge.mqtt.publisher import Publisher
from edge.roll.outbox import Outbox
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead


def work(record: Path, out: int, settings: MqttSettings, first: int) -> None:
    """Record one defect after the other at a place of its own, and send them, until killed."""

    def announce(defects, events):
        os.write(out, b"".join(f"{one.event_id}\n".encode() for one in (*defects, *events)))

    outbox = Outbox(record)
    recorder = RollRecorder(record, RollHead("kill", "0" * 64, {}), announce=announce, outbox=outbox)
    with Publisher(outbox, settings, password_of(settings, os.environ)), recorder:
        for number in range(10**6):
            recorder.event("tick", str(number))
            recorder.add(
                [ClothDefect("broken", 0.9, first + number, first + number + 0.1, 0, 5)], Coverage(), None
            )
            time.sleep(0.002)


def announced(record: Path, rng: random.Random, settings: MqttSettings, first: int) -> list[str]:
    """Start a run, kill it at a random moment, return the ids it announced."""
    source, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        work(record, out, settings, first)
        os._exit(1)
    os.close(out)
    select.select([source], [], [], 30)
    time.sleep(rng.uniform(0.0, 0.3))
    os.kill(child, signal.SIGKILL)
    with os.fdopen(source) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return [line for line in text.splitlines() if len(line) == 32]


def main() -> None:
    """Kill as often as told."""
    record, kills, seed, broker, ca_file, user = sys.argv[1:]
    settings = MqttSettings(broker=broker, ca_file=ca_file, user=user, prefix="t5", box="b1")
    rng = random.Random(int(seed))
    runs = range(int(kills))
    print(json.dumps([one for run in runs for one in announced(Path(record), rng, settings, run * 10**6)]))


if __name__ == "__main__":
    main()

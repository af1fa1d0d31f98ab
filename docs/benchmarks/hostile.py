"""Give hostile inputs to the real commands: no traceback, no hang, no memory without limit.

Usage: PYTHONPATH=. python docs/benchmarks/hostile.py OUT.json [--inputs N] [--first N] [--kinds KIND ...]

Each input is met by a process of its own, forked from this one, which has imported everything. It must end
within 20 s, with less than 2 GB of memory, by a documented exit code, without a traceback. Time in which it
waits for a core that other programs have does not count. The same numbers make the same inputs: look again
at what is found with `--first N --inputs 1 --kinds KIND`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pkgutil
import platform
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from edge.backends.probe import processor_name
from edge.commands.loomsight import all_commands
from edge.commands.loomsight import main as loomsight
from tests.hostile.commands import DOCUMENTED
from tests.hostile.inputs import MAKERS, Workshop, hostile_words, write_workshop

LONGEST_S = 20.0
MOST_MB = 2000.0
SHOWN = 100


class Met(NamedTuple):
    """What became of a process."""

    code: int | None
    seconds: float
    memory_mb: float
    said: str


def met(words: Sequence[str], folder: Path, longest_s: float = LONGEST_S) -> Met:
    """Run a command of `loomsight` in a process of its own; the code is None if it hangs."""
    log = folder / "said.txt"
    begin_s = time.monotonic()
    child = os.fork()
    if not child:
        _become(words, folder, log)
    while True:
        waited_s = waited_for_core_s(child)
        ended, status, used = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - begin_s - waited_s
        if ended or seconds > longest_s:
            break
        time.sleep(0.002)
    if not ended:
        os.kill(child, signal.SIGKILL)
        _, _, used = os.wait4(child, 0)
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return Met(os.waitstatus_to_exitcode(status) if ended else None, seconds, used.ru_maxrss / 1024, said)


def waited_for_core_s(process: int) -> float:
    """Return how long the main thread of a process could have run and had no core (Linux, schedstat)."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


def _become(words: Sequence[str], folder: Path, log: Path) -> None:
    """Be the command, in the child: this does not return."""
    code = 99
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["loomsight", *words]
        loomsight()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        for one in (sys.stdout, sys.stderr):
            one.flush()
        os._exit(code)


def wrong_with(outcome: Met) -> str | None:
    """Say what is not as it should be; None if all is."""
    if outcome.code is None:
        return f"no end within {LONGEST_S:g} s"
    if "Traceback (most recent call last)" in outcome.said:
        return "a traceback"
    if outcome.code not in DOCUMENTED:
        return f"exit code {outcome.code}"
    if outcome.memory_mb > MOST_MB:
        return f"{outcome.memory_mb:.0f} MB"
    return None


def import_everything() -> None:
    """Import what the commands import only when they need it, once instead of in every child."""
    import_module("onnxruntime")
    for package in ("edge", "distill.labels"):
        for found in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if found.name.rpartition(".")[2] not in ("__main__", "env"):  # alembic runs env.py itself
                with contextlib.suppress(ImportError):
                    import_module(found.name)
    for command in all_commands().values():
        command.load()


def tried(kind: str, number: int, shop: Workshop, root: Path) -> tuple[Met, dict[str, Any] | None]:
    """Meet one input; returns what became of it and, if that is wrong, what to look at."""
    folder = Path(tempfile.mkdtemp(prefix="input-", dir=root))
    try:
        words = hostile_words(kind, number, shop, folder)
        outcome = met(words, folder)
        wrong = wrong_with(outcome)
        if wrong is None:
            return outcome, None
        last = outcome.said.strip().splitlines()[-1:]
        return outcome, {
            "kind": kind, "number": number, "wrong": wrong, "command": shlex.join(words)[:300],
            "said": (last or [""])[0][:300],
        }  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Meet all inputs and write what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=MAKERS, default=list(MAKERS), metavar="KIND")
    asked = parser.parse_args()
    os.environ.pop("LOOMSIGHT_TRACEBACK", None)
    import_everything()
    codes: dict[str, Counter[str]] = {kind: Counter() for kind in asked.kinds}
    problems: list[dict[str, Any]] = []
    worst = {"seconds": 0.0, "memory_mb": 0.0}
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        root = Path(name)
        shop = write_workshop(root, lambda words: met(words, root, 120).code or 0)
        for number in range(asked.first, asked.first + asked.inputs):
            kind = asked.kinds[number % len(asked.kinds)]
            outcome, problem = tried(kind, number, shop, root)
            codes[kind][str(outcome.code)] += 1
            worst = {key: max(value, getattr(outcome, key)) for key, value in worst.items()}
            if problem is not None:
                problems.append(problem)
                print(json.dumps(problem), flush=True)
            if number % 100 == 99:
                print(f"{number + 1} inputs, {len(problems)} problems", flush=True)
                write(asked, number + 1 - asked.first, codes, worst, problems)
    result = write(asked, asked.inputs, codes, worst, problems)
    print(json.dumps({**result, "shown": len(problems[:SHOWN])}, indent=1))
    sys.exit(bool(problems))


def write(
    asked: argparse.Namespace,
    inputs: int,
    codes: dict[str, Counter[str]],
    worst: dict[str, float],
    problems: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write what is known so far; returns it."""
    result = {
        "processor": processor_name(),
        "system": platform.platform(),
        "inputs": inputs,
        "first": asked.first,
        "exit_codes": {kind: dict(sorted(counts.items())) for kind, counts in codes.items()},
        "longest_s": round(worst["seconds"], 2),
        "most_mb": round(worst["memory_mb"]),
        "problems": len(problems),
        "shown": problems[:SHOWN],
    }
    asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    main()

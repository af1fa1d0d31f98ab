"""Prove a network: open it and run it once, in a process of its own with limits on time and memory.

Opening a network computes what does not depend on its input, so a short file can ask for all memory or for
years already there, and nothing ends that from within (ONNX Runtime 1.31). Whatever runs the network later,
and on what, it is proved on one thread of the processor.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.backends.memory_guard import bytes_for, limit_memory
from edge.backends.model_file import checked_model_bytes
from edge.backends.onnx_session import (
    CURE,
    OPEN_ERRORS,
    contract_of,
    open_session_of,
    ports_of,
    readable,
    reason_of,
)
from edge.backends.ports import check_ports
from edge.backends.raw_outputs import answer_of
from edge.core.contract import ModelContract
from edge.core.errors import BackendError, ContractError, LoomsightError, ModelError
from edge.core.files import file_digest

PROOF_CPU_S = 15
"""Seconds on the processor to open a network and inspect one input. The shipped detector takes 0.9."""

PROOF_S: Final = 120
"""By the clock, on a processor that others keep busy."""

START: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from edge.backends.proof import main; main(sys.argv[1], int(sys.argv[2]))"
)

VERDICTS: Final = {kind.__name__: kind for kind in (ModelError, ContractError)}
"""What the process may say of a network."""

_ONE_AT_A_TIME: Final = threading.Lock()
_PROVED: Final[set[str]] = set()
"""Digests of the files that have stood their proof: each is proved once in the life of a process."""


def prove(model_path: Path) -> None:
    """Let a process of its own open a network and inspect one black input. The shipped one needs no proof.

    Raises:
        ModelError: if it is missing, is not an ONNX model, fails, or takes too much time or memory.
        ContractError: if it carries no contract, or does not keep it.
        BackendError: if no process can be started.
    """
    checked_model_bytes(model_path)
    if model_path.resolve().is_relative_to(Path(str(resources.files("edge"))).resolve()):
        return
    with _ONE_AT_A_TIME:
        digest = file_digest(model_path)
        if digest not in _PROVED:
            _prove_apart(model_path)
            _PROVED.add(digest)


def _prove_apart(model_path: Path) -> None:
    cpu_s = PROOF_CPU_S
    try:
        done = subprocess.run(_command(model_path, cpu_s), timeout=PROOF_S, check=False, **_APART)
    except subprocess.TimeoutExpired as error:
        raise _endless(model_path, f"{PROOF_S} s") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BackendError(
            f"No process can be started to prove {model_path}: {reason}.", "Free memory."
        ) from error
    if done.returncode == -signal.SIGXCPU:
        raise _endless(model_path, f"{cpu_s} s of processor time")
    if done.stdout:
        kind, problem, cure = json.loads(done.stdout)
        raise VERDICTS[kind](problem, cure)
    if done.returncode != 0:
        raise ModelError(f"{model_path} ends the process that proves it ({_how(done.returncode)}).", CURE)


_APART: Final[dict[str, Any]] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.DEVNULL,
    "start_new_session": True,  # Ctrl-C is for this process, which ends the other
}


def _command(model_path: Path, cpu_s: int) -> list[str]:
    search = [path or str(Path.cwd()) for path in sys.path]
    return [sys.executable, "-c", START, str(model_path), str(cpu_s), *search]


def _endless(model_path: Path, limit: str) -> ModelError:
    return ModelError(f"{model_path} does not run: it has not come to an end after {limit}.", CURE)


def _how(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"


def main(name: str, cpu_s: int) -> None:
    """Prove a network within limits, and write what is wrong with it; past its time it is ended."""
    verdict = _own_output()
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _prove_here(Path(name))
    except LoomsightError as error:
        os.write(verdict, json.dumps([type(error).__name__, error.problem, error.cure]).encode())


def _own_output() -> int:
    """Return a descriptor for the verdict alone: what a runtime prints on standard output is dropped."""
    verdict = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return verdict


def _prove_here(model_path: Path) -> None:
    data = model_path.read_bytes()
    limit_memory(bytes_for(len(data), (0, 0)))
    session = open_session_of(data, model_path)
    contract = readable(contract_of, session, model_path)
    check_ports(readable(ports_of, session, model_path), contract, model_path)
    limit_memory(bytes_for(len(data), contract.input_size_hw_px))
    _inspect_once(session, contract, model_path)


def _inspect_once(session: Any, contract: ModelContract, model_path: Path) -> None:
    ports = contract.outputs
    black = np.zeros((contract.batch or 1, contract.channels, *contract.input_size_hw_px), np.float32)
    try:
        given = session.run(list(ports.output_ports), {ports.images_port: black})
        boxes, scores = answer_of(given, ports)
    except OPEN_ERRORS as error:
        raise ModelError(f"{model_path} does not run: {reason_of(error)}.", CURE) from error
    if boxes.shape[:1] != scores.shape[:1] or boxes.ndim != 3 or boxes.shape[1] != scores.shape[1]:
        raise ContractError(
            f"{model_path} gives {list(boxes.shape)} boxes and {list(scores.shape)} scores.",
            "The contract belongs to another model: export it again.",
        )

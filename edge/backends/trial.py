"""Try a model once in a process of its own: one that takes all memory or never ends is refused there."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from edge.errors import LoomsightError, ModelError

TRIAL_CPU_S: Final = 15
"""Longest time on the processor to load and to infer once on one thread. The shipped detector takes 0.7."""

TRIAL_S: Final = 60
"""Longest time by the clock, on a processor that others keep busy."""

TRIAL_BYTES: Final = 4 * 2**30
"""Most memory for the same, besides three times the length of the file for its weights."""

OUT_OF_MEMORY: Final = 3
"""Exit code of the process where the memory did not suffice."""

START: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from edge.backends.trial import main; main(sys.argv[1], int(sys.argv[2]))"
)

CURE: Final = "Use a detector made by `loomsight export`."


def check_in_trial(model_path: Path, cpu_s: int = TRIAL_CPU_S) -> None:
    """Load a model and run it once, apart from this process and within limits.

    What else is wrong with it is not said here: whoever opens it finds that, too.

    Args:
        model_path: an ONNX file that nobody vouches for.
        cpu_s: most seconds on the processor.
    Raises:
        ModelError: if it takes more time or memory than any detector, or ends the process.
    """
    search = [path or str(Path.cwd()) for path in sys.path]
    command = [sys.executable, "-c", START, str(model_path), str(cpu_s), *search]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TRIAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _endless(model_path, TRIAL_S) from error
    if done.returncode == OUT_OF_MEMORY:
        raise ModelError(f"The model {model_path} takes more than {TRIAL_BYTES >> 30} GiB of memory.", CURE)
    if done.returncode == -signal.SIGXCPU:
        raise _endless(model_path, cpu_s)
    if done.returncode < 0:
        raise ModelError(f"The model {model_path} ends its process (signal {-done.returncode}).", CURE)


def _endless(model_path: Path, seconds: int) -> ModelError:
    return ModelError(f"The model {model_path} does not answer within {seconds} s.", CURE)


def main(path: str, cpu_s: int) -> None:
    """Load a model and run it once; the limits end this process, or the memory is said to be too little."""
    from edge.backends.onnxruntime import OnnxRuntimeBackend, read_contract
    from edge.backends.provider_start import CPU

    model_path = Path(path)
    most_bytes = TRIAL_BYTES + 3 * model_path.stat().st_size
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        contract = read_contract(model_path)
        with OnnxRuntimeBackend(model_path, contract, [CPU], threads=1) as backend:
            backend.warm_up(1)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
    except LoomsightError as error:
        sys.exit(OUT_OF_MEMORY if "alloc" in str(error).lower() else 0)

"""Start a provider of ONNX Runtime, and find out why one does not start.

ONNX Runtime carries on without a provider that fails. The reason goes to the process's stderr or stdout
and to nobody else: both are caught here while a session opens.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from edge.process.packages import install_package

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

CUDA_LIBRARIES = "onnxruntime-gpu[cuda,cudnn]"
"""The base install has ONNX Runtime's CUDA provider without the 2 GB of libraries that it loads."""

LONGEST_REASON = 200


class CaughtOutput:
    """Hold what was written to stdout and stderr, once it is over."""

    text = ""


@contextmanager
def catch_output() -> Iterator[CaughtOutput]:
    """Keep what Python prints and what libraries write to file descriptor 2.

    Not while other threads log: their lines would be caught as well.
    """
    caught, printed = CaughtOutput(), io.StringIO()
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 2)
        try:
            with redirect_stdout(printed):
                yield caught
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            stream.seek(0)
            caught.text = stream.read().decode(errors="replace") + printed.getvalue()


def preload_cuda() -> None:
    """Load CUDA and cuDNN from their Python packages, where this ONNX Runtime (1.21 and later) can."""
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        preload()


def reason_in(text: str) -> str:
    """Find in what ONNX Runtime wrote why a provider did not start.

    Returns:
        One line; `failed to start` if nothing there says more.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    patterns = (
        r"Failed to load library \S+ with error: (?:\S*/)?([^\n]+)",
        r"((?:CUDA|CUDNN|CUBLAS) failure -?\d+: [^;\n]+)",
        r"EP Error (.+?) when using",
        r"\[[EW]:onnxruntime:[^\]]*\] ([^\n]+)",
    )
    for pattern in patterns:
        found = re.search(pattern, text, re.DOTALL)
        if found:
            return " ".join(found[1].split())[:LONGEST_REASON].rstrip(" .")
    return "failed to start"


def cure_of(reason: str) -> str:
    """Say what to do about a reason why CUDA does not start."""
    if "libcuda.so" in reason:
        return "Install the NVIDIA driver; in a container, start it with access to the GPU (`--gpus all`)."
    if re.search(r"lib\w+\.so", reason):
        return install_package(CUDA_LIBRARIES)
    return "Compare the driver with what this ONNX Runtime needs: https://onnxruntime.ai/docs/install"

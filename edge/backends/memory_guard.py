"""Limit the memory of the process that tries out a network: 300 bytes can ask for all there is."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Final

LEAST_BYTES: Final = 1 << 30
"""What a runtime takes for itself and its threads, with much to spare."""

COPIES: Final = 24
"""Of the file. A YOLOv5n takes 6 times its weights while it is opened (ONNX Runtime 1.31)."""

MAPS: Final = 64
TILES: Final = 16
"""Of activations, as large as the input, for as many inputs as are given to the network at once."""


def bytes_for(model_bytes: int, input_size_hw_px: tuple[int, int]) -> int:
    """Return the memory that opening a network, and inspecting its golden images, may take.

    Args:
        model_bytes: size of its file.
        input_size_hw_px: height and width of its input.
    """
    height, width = input_size_hw_px
    return LEAST_BYTES + COPIES * model_bytes + TILES * MAPS * 4 * height * width


def limit_memory(more_bytes: int) -> None:
    """Let this process take no more than so much memory beyond what it has; what asks for more fails."""
    used = _data_bytes()
    if used is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + more_bytes
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _data_bytes() -> int | None:
    """Return the private memory that this process has now, as Linux counts it; None if nobody says."""
    try:
        found = re.search(r"^VmData:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None

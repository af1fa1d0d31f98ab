"""What hardware and drivers a backend could use, found out without loading any of them."""

from __future__ import annotations

import logging
import os
import platform
from pathlib import Path

from edge.cgroup import cpu_quota

logger = logging.getLogger(__name__)

CPU_FEATURES = (
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "avx512_vnni",
    "avx512_bf16",
    "avx2",
    "asimd",
    "asimddp",
)
"""Instruction sets that decide how fast a network runs, as Linux spells them."""


def available_cores() -> int:
    """Return how many cores this process may use, which in a container can be fewer than the box has.

    More threads than a quota of time feeds are stopped in the middle of their work, all of them at once.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def threads_for(wanted: int | None) -> int:
    """Return the threads of one inference: as many as are wanted, but no more than the device has cores.

    Args:
        wanted: None for as many as this process may use.
    """
    most = max(os.cpu_count() or 1, available_cores())
    if wanted is None:
        return available_cores()
    if wanted > most:
        logger.warning("threads = %s: this device has %d cores, and so many are used", _short(wanted), most)
    return min(wanted, most)


def _short(number: int) -> str:
    return str(number) if number < 10**9 else "more than 1,000,000,000"


def nvidia_gpu_present() -> bool:
    """Tell whether the NVIDIA driver shows a device, on a desktop or on a Jetson."""
    return any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu"))


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    names = [value for key, value in _cpuinfo() if key in ("model name", "Model")]
    return names[0] if names else platform.processor() or platform.machine()


def processor_features() -> list[str]:
    """Return those of `CPU_FEATURES` that the processor has."""
    flags = {word for key, value in _cpuinfo() if key in ("flags", "Features") for word in value.split()}
    return [feature for feature in CPU_FEATURES if feature in flags]


def multiplies_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 by itself."""
    return bool({"amx_bf16", "avx512_bf16"} & set(processor_features()))


def _cpuinfo() -> list[tuple[str, str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    pairs = (line.partition(":") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]

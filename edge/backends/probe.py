"""Find out what hardware and drivers a backend could use, without loading any of them."""

from __future__ import annotations

import logging
import os
import platform
from pathlib import Path

from edge.backends.cgroup import cpu_quota

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


ISA_WITH_BFLOAT16 = ("DEFAULT", "ALL", "BF16", "FP16", "AMX", "AVX10")
"""Parts of those values of oneDNN's ONEDNN_MAX_CPU_ISA that include bfloat16."""


def available_cores() -> int:
    """Return how many cores this process may use, which in a container can be fewer than the device has.

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
    """Tell whether the processor multiplies bfloat16 by itself, and may."""
    return permits_bfloat16() and bool({"amx_bf16", "avx512_bf16"} & set(processor_features()))


def permits_bfloat16() -> bool:
    """Tell whether the environment leaves oneDNN the instructions for bfloat16.

    OpenVINO takes no notice of that limit and finds no kernel then: it does not compile the model.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    return any(word in limit for word in ISA_WITH_BFLOAT16)


def _cpuinfo() -> list[tuple[str, str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    pairs = (line.partition(":") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]

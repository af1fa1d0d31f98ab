"""Find out what cores, hardware and drivers a backend could use, without loading any of them."""

from __future__ import annotations

import logging
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

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

ROOT = Path("/")


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


class _Mount(NamedTuple):
    """A hierarchy of control groups: which group is its root, and where that lies."""

    kind: str
    options: tuple[str, ...]
    group: PurePosixPath
    folder: Path


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many cores' worth of time this process may take, by the least quota above it.

    Args:
        root: below which `/proc` and the control groups lie.
    Returns:
        None if there is no quota, or nobody says.
    """
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    return min(quotas, default=None)


def _quotas_v2(root: Path) -> Iterator[float]:
    """Yield the quotas of the one hierarchy of version 2: `cpu.max` holds `quota period`."""
    for folder in _folders(root, "cgroup2", ""):
        words = _text(folder / "cpu.max").split()
        if len(words) == 2:
            yield from _ratio(words[0], words[1])


def _quotas_v1(root: Path) -> Iterator[float]:
    """Yield the quotas of the hierarchy `cpu` of version 1; -1 is none."""
    for folder in _folders(root, "cgroup", "cpu"):
        yield from _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> Iterator[float]:
    if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
        yield int(quota) / int(period)


def _folders(root: Path, kind: str, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's group and of those above it, as far as they can be seen."""
    group = _group(root, controller)
    for mount in _mounts(root):
        if mount.kind != kind or (controller and controller not in mount.options):
            continue
        # In a container, the group may be named as the host sees it, and what is mounted is its own.
        below = group.relative_to(mount.group) if group.is_relative_to(mount.group) else PurePosixPath()
        for part in (below, *below.parents):
            yield mount.folder / part


def _group(root: Path, controller: str) -> PurePosixPath:
    """Return the group of this process in the hierarchy of a controller; the empty name is version 2."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return PurePosixPath(path)
    return PurePosixPath("/")


def _mounts(root: Path) -> Iterator[_Mount]:
    """Yield the hierarchies that are mounted; a line is, by proc(5), `id parent dev root mount - kind`."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, behind = line.partition(" - ")
        places, kinds = before.split(), behind.split()
        if len(places) > 4 and len(kinds) > 2 and kinds[0] in ("cgroup", "cgroup2"):
            group, folder = (_unescaped(places[3]), _unescaped(places[4]))
            options = tuple(kinds[2].split(","))
            yield _Mount(kinds[0], options, PurePosixPath(group), root / folder.lstrip("/"))


def _unescaped(word: str) -> str:
    """Return a path of mountinfo with its blanks: they are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

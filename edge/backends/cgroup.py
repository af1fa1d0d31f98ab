"""Read the processor limits that Linux control groups set for a container or a service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")


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

"""Find the audit log that a command is about, and what was kept of it elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.audit.entry import Head, head_of
from edge.audit.files import SUFFIX, lock_of, log_beside
from edge.audit.reading import files_of
from edge.config.device import audit_file, box_from_process
from edge.core.errors import ConfigError
from edge.roll.audit_heads import heads_in

SQLITE: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class AuditPlaces:
    """Say where a log is, and which roll records kept its heads."""

    log: Path
    records: tuple[Path, ...]

    def anchors(self) -> dict[str, list[Head]]:
        """Return the heads that each record has, also of a log that has another name here.

        Raises:
            RecordError: if a record cannot be read.
        """
        return {
            str(one): heads_in(one, self.log.name) or heads_in(one, log_beside(one).name)
            for one in self.records
        }

    def files(self) -> set[Path]:
        """Return every file that must not be written over."""
        return {one.resolve() for one in (*files_of(self.log), lock_of(self.log), *self.records)}


def places_of(named: Path | None, config: Path | None, more: Sequence[Path] = ()) -> AuditPlaces:
    """Return the log that is named, else that of some settings.

    Args:
        named: a log, or a roll record beside which it lies; None for none.
        config: TOML file; None for none.
        more: further roll records.
    Raises:
        ConfigError: if nothing names a log, or a folder is named.
    """
    if named is not None:
        return _beside(named, more)
    cameras = box_from_process(config, {})
    log = audit_file(cameras)
    if log is None:
        raise ConfigError("Nothing names an audit log.", "Name its file, a roll record, or --config.")
    records = [one.config.roll_record for one in cameras if one.config.roll_record is not None]
    return AuditPlaces(log, tuple(dict.fromkeys([*(one for one in records if one.is_file()), *more])))


def given_heads(texts: Sequence[str]) -> list[Head]:
    """Read heads from the command line.

    Raises:
        ConfigError: if one is none.
    """
    heads = [head_of(text) for text in texts]
    for text, head in zip(texts, heads, strict=True):
        if head is None:
            raise ConfigError(
                f"--head {text[:80]} is no head of an audit log.",
                "Write NUMBER:DIGEST, the digest with 64 hexadecimal digits.",
            )
    return [head for head in heads if head is not None]


def _beside(named: Path, more: Sequence[Path]) -> AuditPlaces:
    if named.name in ("", "..") or named.is_dir():
        raise ConfigError(f"{named} is a folder.", "Name the file of the log, or a roll record.")
    if _is_record(named):
        return AuditPlaces(log_beside(named), tuple(dict.fromkeys([named, *more])))
    record = named.with_name(named.name.removesuffix(SUFFIX))
    is_beside = named.name.endswith(SUFFIX) and _is_record(record)
    return AuditPlaces(named, tuple(dict.fromkeys([*([record] if is_beside else []), *more])))


def _is_record(path: Path) -> bool:
    """Tell whether a file is a database, by how it begins."""
    if not path.is_file():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(SQLITE)) == SQLITE
    finally:
        os.close(descriptor)

"""Define an entry of the audit log: one line of canonical JSON that names the digest of the one before."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.core.events import utc_now

HEX: Final = r"^[0-9a-f]{64}$"
HEAD_TEXT: Final = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})")

Digest = Annotated[str, Field(pattern=HEX)]

LOG_STARTED: Final = "log started"
LOG_CONTINUED: Final = "log continued"
LOG_MENDED: Final = "log mended"
LOG_DAMAGED: Final = "log damaged"
FILE_REMOVED: Final = "log file removed"
ENTRIES_LOST: Final = "entries lost"
OWN_KINDS: Final = (LOG_STARTED, LOG_CONTINUED, LOG_MENDED, LOG_DAMAGED, FILE_REMOVED, ENTRIES_LOST)
"""Kinds of entries that the log writes about itself."""

THE_LOG: Final = "audit log"
"""Who wrote those."""


class Head(NamedTuple):
    """Name an entry, and with it all that come before: its number, and its digest in hexadecimal."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


START: Final = Head(0, "0" * 64)
"""What the first entry of a log follows."""


@dataclass(frozen=True, slots=True)
class Note:
    """Hold what an entry is to say, before it has its place in the chain.

    Attributes:
        who: a user, `settings`, or `command line: unix user NAME`.
        kind: what was done, for instance `verdict`.
        data: the same for a program, plain values.
        utc: when, ISO 8601.
    """

    who: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    utc: str = field(default_factory=utc_now)


class AuditEntry(BaseModel):
    """Hold an entry of the log.

    Attributes:
        number: counted from 1, through all files of a log.
        before: digest of the entry before; 64 zeros in the first.
        digest: SHA-256 of the canonical JSON of all other fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    number: int = Field(ge=1, le=10**15)
    utc: str
    who: str
    kind: str
    data: dict[str, Any]
    before: Digest
    digest: Digest

    @property
    def head(self) -> Head:
        """What the next entry follows."""
        return Head(self.number, self.digest)

    @property
    def line(self) -> bytes:
        """The entry as the file has it: canonical JSON and the end of a line."""
        return canonical(self.model_dump()) + b"\n"

    @property
    def is_whole(self) -> bool:
        """Whether the digest is that of what the entry says."""
        return self.digest == digest_of(self.model_dump(exclude={"digest"}))


def chained(note: Note, after: Head) -> AuditEntry:
    """Return the entry that says something behind another one."""
    fields: dict[str, Any] = {
        "number": after.number + 1,
        "utc": note.utc,
        "who": note.who,
        "kind": note.kind,
        "data": note.data,
        "before": after.digest,
    }
    return AuditEntry(**fields, digest=digest_of(fields))


def entry_of(line: bytes) -> AuditEntry | None:
    """Read a line of the log; None if it is not, byte for byte, what an entry is written as."""
    try:
        entry = AuditEntry.model_validate(json.loads(line))
        return entry if entry.line == line else None
    except (ValidationError, ValueError, RecursionError, TypeError):
        return None


def canonical(fields: dict[str, Any]) -> bytes:
    """Return JSON with sorted keys, without spaces, in ASCII: equal values have equal bytes.

    Raises:
        ValueError: for a number that JSON does not have.
    """
    return json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")


def digest_of(fields: dict[str, Any]) -> str:
    """Return the SHA-256 of canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(fields)).hexdigest()


def head_of(text: str) -> Head | None:
    """Read `NUMBER:DIGEST`; None if it is something else."""
    found = HEAD_TEXT.fullmatch(text.strip().lower())
    return Head(int(found[1]), found[2]) if found else None

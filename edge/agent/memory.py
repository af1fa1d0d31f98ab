"""Remember what an agent has taken: the newest list, and what a device ran before its first release."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundle.store import BundleId
from edge.core.errors import ReleaseError
from edge.core.files import write_whole
from edge.core.outside_files import SETTINGS_BYTES, read_bytes

logger = logging.getLogger(__name__)

MEMORY_NAME = "agent.json"


class Memory(BaseModel):
    """Hold what outlives a restart. Stands in `agent.json`, in the folder of the agent.

    Attributes:
        sequence: of the newest list that was taken.
        before: store -> bundle that was current before the first release was installed there.
        checked_utc: when the list was read the last time.
        problems: what could not be done then.
    """

    model_config = ConfigDict(extra="ignore")

    sequence: int = Field(default=0, ge=0)
    before: dict[str, BundleId] = {}
    checked_utc: str | None = None
    problems: list[str] = []


def remembered(folder: Path) -> Memory:
    """Read what an agent remembers; one that is damaged is started again, which is said.

    Raises:
        ReleaseError: if the file may not be read.
    """
    path = folder / MEMORY_NAME
    if not path.exists():
        return Memory()
    data = read_bytes(path, SETTINGS_BYTES, ReleaseError, "Check agent.folder.")
    try:
        return Memory.model_validate_json(data)
    except (ValidationError, RecursionError):
        logger.warning("%s is damaged: an older list of releases would be taken once", path)
        return Memory()


def remember(folder: Path, memory: Memory) -> None:
    """Write what an agent remembers, whole.

    Raises:
        OutputError: if that cannot be written.
    """
    write_whole(folder / MEMORY_NAME, memory.model_dump_json(indent=1).encode() + b"\n")

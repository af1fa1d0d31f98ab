"""Define the table `[audit]`: where the audit log is, and how much of it is kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from edge.core.settings import OwnPath


class AuditSettings(BaseModel):
    """Hold where it is kept who did what.

    Attributes:
        file: of the log; None for one beside the roll record. Without either there is none.
        file_mb: megabytes of a file; a full one gets another name, and the next one continues the chain.
        keep_files: full files that are kept; the oldest makes room.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: OwnPath | None = None
    file_mb: float = Field(default=16.0, ge=0.001, le=1024)
    keep_files: int = Field(default=64, ge=1, le=100_000)

"""One row for each stage a model went through: what it costs and how good it is."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from edge.errors import OutputError

SCORECARD_NAME = "scorecard.jsonl"


class Latency(BaseModel):
    """Say how long one inference takes, and on what. Times are not trimmed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    p50_ms: float
    p99_ms: float
    runs: int
    batch: int
    device: str
    runtime: str
    precision: str


class ScorecardRow(BaseModel):
    """Describe a model after one stage.

    Attributes:
        stage: for instance train, prune, export.
        macs: multiplications of one input.
        file_size_bytes: of the checkpoint or of the exported model.
        map50, map50_95: on the validation split's tiles.
        recall: share of the defects of the validation split that are reported at the working threshold.
        false_alarms_per_clean_m2: reports on pictures without a defect, per square metre of cloth; None
            if the scale is not known or every picture has one.
        checkpoint_digest: sha256 of the checkpoint file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    parameters: int
    macs: int
    file_size_bytes: int
    map50: float | None = None
    map50_95: float | None = None
    recall: float | None = None
    false_alarms_per_clean_m2: float | None = None
    latency: Latency | None = None
    checkpoint_digest: str
    utc: str = Field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))


def append_row(file: Path, row: ScorecardRow) -> None:
    """Append a row to a scorecard.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(row.model_dump_json() + "\n")
    except OSError as error:
        raise OutputError(
            f"Cannot write {file}: {error}.", "Check its permissions and the free space."
        ) from error

"""Keep the scorecard: one row for each stage of a model with its cost and its quality."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from distill.core.value import Value
from edge.core.errors import ConfigError, OutputError
from edge.core.files import file_digest
from edge.core.outside_files import LABELS_BYTES, read_bytes

logger = logging.getLogger(__name__)

SCORECARD_NAME = "scorecard.jsonl"

ANCESTRY_NAME = "ancestry.jsonl"
"""Beside the scorecard of a detector that was made from another: the rows of that one and its ancestors."""

EXPORT = "export"
"""Stage of an exported model; one in another precision is called `export int8`, for instance."""

MOST = 1e15
"""Greatest number in a row: a thousand times the MACs of the largest detector."""

LATENCY_RUNS = 100
LATENCY_LIMIT_S = 20.0
"""Large detectors on a slow processor get fewer runs; the row says how many."""


class Latency(Value):
    """Say how long one inference takes, and on what. Times are not trimmed."""

    p50_ms: float
    p99_ms: float
    runs: int
    batch: int
    device: str
    runtime: str
    precision: str


class ScorecardRow(Value):
    """Describe a model after one stage.

    Attributes:
        stage: for instance train, prune, export.
        macs: MACs of one input.
        file_size_bytes: of the checkpoint or of the exported model.
        map50, map50_95: on the validation split's tiles.
        recall: fraction of the defects of the validation split that are reported at the working threshold.
        false_alarms_per_clean_m2: reports on images without a defect, per square metre of cloth; None
            if the scale is not known or every image has one.
        checkpoint_digest: sha256 of the checkpoint file.
    """

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

    @property
    def is_export(self) -> bool:
        """Whether it is of an exported model."""
        return self.stage.split()[:1] == [EXPORT]


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


def read_rows(file: Path) -> list[ScorecardRow]:
    """Return the rows of a scorecard that can be read; none if there is no such file.

    Raises:
        ConfigError: if the file itself may not be read.
    """
    rows = []
    for line in read_bytes(file, LABELS_BYTES, ConfigError).splitlines() if file.is_file() else ():
        try:
            rows.append(_checked(ScorecardRow.model_validate_json(line)))
        except ValueError:
            logger.warning("%s has a row that cannot be used; it is left out", file)
    return rows


def ancestry_of(checkpoint: Path) -> list[ScorecardRow]:
    """Return the rows of a checkpoint's run and of all that it was made from, oldest first.

    Rows of exports are left out. A checkpoint without a row in the scorecard beside it has none.

    Raises:
        ConfigError: if a scorecard may not be read.
    """
    own = [row for row in read_rows(checkpoint.parent / SCORECARD_NAME) if not row.is_export]
    digest = file_digest(checkpoint)
    if all(row.checkpoint_digest != digest for row in own):
        return []
    return [*read_rows(checkpoint.parent / ANCESTRY_NAME), *own]


def _checked(row: ScorecardRow) -> ScorecardRow:
    """Return a row that can be printed and drawn.

    Raises:
        ValueError: if a number in it is none that a model can have.
    """
    times = (row.latency.p50_ms, row.latency.p99_ms) if row.latency else ()
    rates = (row.map50, row.map50_95, row.recall, row.false_alarms_per_clean_m2)
    numbers = (row.parameters, row.macs, row.file_size_bytes, *rates, *times)
    if any(number is not None and not 0 <= number <= MOST for number in numbers):
        raise ValueError(f"a number of {row.stage} lies outside of 0 to {MOST:g}")
    return row


def measure_latency(
    infer: Callable[[NDArray[np.float32]], object],
    tiles_nchw: NDArray[np.float32],
    *,
    runtime: str,
    device: str,
    precision: str,
) -> Latency:
    """Time single inferences on real tiles, one after the other.

    Args:
        infer: runs the network on (1, channels, H, W) float32.
        tiles_nchw: (N, channels, H, W) float32; they take turns.
    """
    inputs = [np.ascontiguousarray(tile[None]) for tile in tiles_nchw]
    for tile in inputs[:3]:
        infer(tile)
    times_ms: list[float] = []
    end = time.monotonic() + LATENCY_LIMIT_S
    while len(times_ms) < LATENCY_RUNS and (time.monotonic() < end or not times_ms):
        before_ns = time.perf_counter_ns()
        infer(inputs[len(times_ms) % len(inputs)])
        times_ms.append((time.perf_counter_ns() - before_ns) / 1e6)
    p50, p99 = np.percentile(times_ms, [50, 99])
    return Latency(
        p50_ms=round(float(p50), 3),
        p99_ms=round(float(p99), 3),
        runs=len(times_ms),
        batch=1,
        device=device,
        runtime=runtime,
        precision=precision,
    )

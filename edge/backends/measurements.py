"""Cache the measurements by which backends were chosen, in the user's cache folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.backends.description import CandidateName
from edge.core.errors import OutputError
from edge.core.files import write_whole

logger = logging.getLogger(__name__)

CACHE_FORMAT = 1
MOST_KEPT = 100
"""Measurements in the file; the oldest go first."""


class Circumstances(BaseModel):
    """Name everything that decides which backend is the fastest.

    Attributes:
        model_digest: sha256 of the ONNX file.
        batch: images in one inference.
        threads: of one inference.
        precision: asked for; None for each backend's own choice.
        providers: asked for, of ONNX Runtime.
        runtimes: version of each candidate's package.
        nvidia_gpu: the driver shows one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_digest: str
    batch: int
    threads: int
    precision: str | None
    providers: tuple[str, ...]
    runtimes: dict[CandidateName, str]
    processor: str
    nvidia_gpu: bool


class Measurement(BaseModel):
    """Hold how long one inference took on each candidate, in milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    circumstances: Circumstances
    milliseconds: Annotated[
        dict[CandidateName, Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1)
    ]
    measured_utc: str = Field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )

    def fastest_first(self) -> list[CandidateName]:
        """Return the names of the candidates by their time."""
        return sorted(self.milliseconds, key=self.milliseconds.__getitem__)


class _CacheFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Annotated[int, Field(ge=CACHE_FORMAT, le=CACHE_FORMAT)] = CACHE_FORMAT
    measurements: tuple[Measurement, ...] = ()


def cache_path(environment: Mapping[str, str]) -> Path | None:
    """Return the file in the user's cache folder (XDG Base Directory Specification 0.8).

    Args:
        environment: usually `os.environ`.
    Returns:
        None where there is no such folder, as for a service without a home.
    """
    named = Path(environment.get("XDG_CACHE_HOME", ""))
    home = Path(environment.get("HOME", ""))
    if named.is_absolute():
        return named / "loomsight" / "backends.json"
    return home / ".cache" / "loomsight" / "backends.json" if home.is_absolute() else None


class MeasurementCache:
    """Remember measurements in a file. What cannot be read is measured again; nothing here ends a run.

    Args:
        path: the file, which need not exist; None to remember nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def find(self, circumstances: Circumstances) -> Measurement | None:
        """Return the newest measurement under just these circumstances."""
        return next((one for one in self._newest_first() if one.circumstances == circumstances), None)

    def find_at_any_batch(self, circumstances: Circumstances) -> Measurement | None:
        """Return the newest measurement whose circumstances differ in nothing but the batch."""
        wanted = circumstances.model_dump(exclude={"batch"})
        same = (
            one for one in self._newest_first() if one.circumstances.model_dump(exclude={"batch"}) == wanted
        )
        return next(same, None)

    def add(self, measurement: Measurement) -> None:
        """Write a measurement in place of an older one under the same circumstances."""
        if self._path is None:
            return
        others = [one for one in self._read() if one.circumstances != measurement.circumstances]
        kept = (*others, measurement)[-MOST_KEPT:]
        try:
            write_whole(
                self._path, _CacheFile(measurements=kept).model_dump_json(indent=1).encode() + b"\n"
            )
        except OutputError as error:
            logger.warning("the measurement is not kept: %s", error.problem)

    def _newest_first(self) -> tuple[Measurement, ...]:
        return self._read()[::-1]

    def _read(self) -> tuple[Measurement, ...]:
        if self._path is None:
            return ()
        try:
            return _CacheFile.model_validate_json(self._path.read_bytes()).measurements
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            logger.warning("%s is not used: %s", self._path, reason)
            return ()

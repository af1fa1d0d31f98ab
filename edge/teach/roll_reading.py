"""Keep the clean cloth of the article on the loom, strip by strip, until there is enough of it."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.cameras.protocol import Frame
from edge.config.alarm_budget import ClothAmount
from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.core.errors import OutputError
from edge.inference.preparation import PreparedStrip
from edge.sinks.raw_stream import LEAST_FREE_BYTES
from edge.teach.keeping import Keeper
from edge.teach.learning import CleanCloth, DetectorUsed
from edge.teach.looks import SpooledStrip
from edge.teach.reading import CleanStrip, ClothMeter, kept_on_cloth
from edge.teach.spool import Spool

CURE: Final = "Free space, or name another folder in auto_teach."


@dataclass(frozen=True, slots=True)
class Subject:
    """Name what is to be learnt, and how.

    Attributes:
        article: its name; None if nobody named it.
        called: name of the article file: the article's, or the roll's.
        path: where the article file is published.
        contract, detector: of the network that runs beside.
        margin_mm: nearer to a selvedge, or to an edge of the cloth, nothing is looked at.
        is_taught: whether an article file is in use.
        may_replace: whether an older article file at `path` is replaced.
    """

    article: str | None
    called: str
    path: Path
    contract: ModelContract
    detector: DetectorUsed
    margin_mm: float
    is_taught: bool
    may_replace: bool

    def text(self) -> str:
        """Return the article in words."""
        return f"article '{self.article}'" if self.article else "the article on the loom"


@dataclass(frozen=True, slots=True, eq=False)
class StripRead:
    """Hold a strip that was inspected.

    Attributes:
        number: of the strip in the run, from 1.
        weak: all that the detector sees, in pixels of the prepared image, however weak.
        mm_per_px: that the frame is taken to have; None if there is nothing to go by.
    """

    number: int
    frame: Frame
    prepared: PreparedStrip
    weak: Detections
    mm_per_px: float | None


class RollReading:
    """Keep the strips of clean cloth.

    Args:
        subject: what is to be learnt.
        spool: takes the images; as large as the cloth to read.
        of_metres: to read.
    """

    def __init__(self, subject: Subject, spool: Spool, of_metres: float) -> None:
        self.subject = subject
        self.keeper = Keeper(subject.contract, subject.margin_mm, spool)
        self.parts_reported = 0
        self._folder = subject.path.absolute().parent
        self._of_metres = of_metres
        self._meter = ClothMeter()
        self._strips: list[SpooledStrip] = []
        self._left_out: Counter[str] = Counter()
        self._width_px: int | None = None

    @property
    def amount(self) -> ClothAmount:
        """Cloth that was read."""
        return self._meter.amount

    @property
    def metres(self) -> float:
        """Length of it."""
        return self._meter.amount.metres

    @property
    def is_enough(self) -> bool:
        """Whether all of it was read."""
        return self.metres >= self._of_metres - 1e-9

    @property
    def cloth(self) -> CleanCloth:
        """What was read."""
        return CleanCloth(tuple(self._strips), self._left_out)

    def add(self, read: StripRead) -> None:
        """Keep a strip, if it shows cloth.

        Raises:
            LoomsightError: if the disk is full, or the scale is none of the detector's.
        """
        frame, prepared = read.frame, read.prepared
        if prepared.prepared_image is None or prepared.image is None:
            self._left_out["without cloth"] += 1
            return
        self._width_px = self._width_px or frame.image.shape[1]
        if frame.image.shape[1] != self._width_px:
            self._left_out["of another width"] += 1
            return
        self._check_space(prepared.image.nbytes)
        found = kept_on_cloth(read.weak, prepared, frame, self.subject.margin_mm, read.mm_per_px)
        amount = self._meter.add(frame, prepared)
        strip = CleanStrip(frame, prepared.image, prepared.carried_lines, prepared, found, amount)
        self._strips.append(self.keeper.keep(strip))

    def _check_space(self, more_bytes: int) -> None:
        """Leave space to the roll record: it needs the rest of the disk.

        Raises:
            OutputError: if there is too little.
        """
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise OutputError(f"Cannot look at {self._folder}: {error.strerror}.", "Check it.") from error
        if free < LEAST_FREE_BYTES + more_bytes:
            raise OutputError(
                f"Cannot keep the clean cloth in {self._folder}: less than 1 GiB is free.", CURE
            )

"""Read labels from a roll record: verdicts of people on the live page, beside the saved images.

A defect that a person confirmed or named is a box, one that they rejected is none, and an image of which
all were rejected is clean. What nobody judged, or confirmed without a class, waits for `loomsight review`;
so does a box that is a piece of its defect, and an image that shows part of a defect of another image.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from distill.labels.sets.annotations import AnnotatedImage, BoxXyxy, LabelSet, Region, ReviewState
from distill.labels.sets.attributes import finite_numbers
from distill.labels.sets.image_files import is_there, name_within, size_hw_px
from distill.labels.sets.problems import Problems
from edge.core.detections import UNCLASSIFIED
from edge.core.errors import DatasetError
from edge.roll.contents import DefectRow, Roll
from edge.roll.reading import read_rolls

ANNOTATOR: Final = "edge-run"

LEAST_PART_PX: Final = 4.0
"""A smaller part of a defect that belongs to another image is the jitter of its box."""

JITTER_PX: Final = 8.0
"""So far the box of an image may be from the sides of its defect, or from the border of the image where the
defect goes on beyond."""


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read the rolls of a record; each roll is a group.

    Args:
        source: file of `edge-run --roll-record`.
        image_folder: folder of `--save-pictures`, where it is not where the record says.
    Raises:
        RecordError: if the record cannot be read.
        DatasetError: if it names no images.
    """
    problems = Problems()
    rolls = read_rolls(source)
    stated = {row.image for roll in rolls for row in roll.defects if row.image is not None}
    if not stated:
        raise DatasetError(f"{source} names no images.", "Run edge-run with --save-pictures beside it.")
    root = image_folder or Path(os.path.commonpath([Path(name).parent for name in stated]))
    images: dict[str, AnnotatedImage] = {}
    for roll in rolls:
        for image in _RollReader(roll, root, source.name, problems).images():
            images[image.file_name] = _joined(images.get(image.file_name), image)
    return LabelSet(
        root,
        tuple(sorted({region.label for image in images.values() for region in image.regions})),
        tuple(images[name] for name in sorted(images)),
        problems.by_file(),
        _common_scale(rolls),
        problems.notes_by_file(),
    )


def _joined(before: AnnotatedImage | None, image: AnnotatedImage) -> AnnotatedImage:
    """Put together what two rolls say of the image at their border."""
    if before is None:
        return image
    return replace(before, regions=(*before.regions, *image.regions), unread=before.unread + image.unread)


class _RollReader:
    """Read the images of one roll."""

    def __init__(self, roll: Roll, root: Path, record: str, problems: Problems) -> None:
        self._roll = roll
        self._root = root
        self._problems = problems
        self._scale = _Scale(roll.m_per_line * 1000, scale_of(roll) or 0.0)
        self._of_image: dict[str, list[DefectRow]] = defaultdict(list)
        for row in roll.defects:
            if row.image is not None and row.box_xyxy_px is not None:
                self._of_image[row.image].append(row)
        without = len(roll.defects) - sum(map(len, self._of_image.values()))
        if without:
            problems.note(record, f"roll '{roll.name}': {without} defects have no image")
        self._starts_m = np.array([row.defect.start_m for row in roll.defects], np.float64)
        self._ends_m = np.array([row.defect.end_m for row in roll.defects], np.float64)
        self._damaged = roll.damaged.get("defects", 0)
        if self._damaged:
            what = f"{self._damaged} defects are damaged: its images are left out"
            problems.add(record, f"roll '{roll.name}': {what}")

    def images(self) -> Iterator[AnnotatedImage]:
        """Yield the images that are there, each with what is said of it."""
        for stated, rows in self._of_image.items():
            name = name_within(stated, self._root)
            try:
                if not is_there(self._root / name):
                    raise DatasetError("is not there.", "Name the folder of the images with --pictures.")
                size = size_hw_px(self._root / name)
            except DatasetError as error:
                self._problems.add(stated, f"{error.problem} {error.cure}")
                continue
            regions = (*self._own(rows, size), *self._parts(rows, size))
            yield AnnotatedImage(name, size, regions, self._roll.name, unread=self._damaged)

    def _own(self, rows: Sequence[DefectRow], size_hw_px: tuple[int, int]) -> Iterator[Region]:
        """Yield what a person said of the defects whose image this is; nothing of what they rejected."""
        for row in rows:
            if row.verdict == "rejected" or row.box_xyxy_px is None:
                continue
            label = row.named or row.defect.class_name
            is_sure = row.verdict == "confirmed" and label != UNCLASSIFIED
            review: ReviewState = "queued"
            if is_sure and self._scale.is_whole(row, size_hw_px):
                review = "accepted" if label == row.defect.class_name else "corrected"
            yield _region(row, _cut(row.box_xyxy_px, size_hw_px), review)

    def _parts(self, rows: Sequence[DefectRow], size_hw_px: tuple[int, int]) -> Iterator[Region]:
        """Yield what an image shows of defects that have another one: a person decides what is seen."""
        if not self._scale.is_known:
            return
        windows = [_Window.by(row, size_hw_px, self._scale) for row in rows]
        window = min(windows, key=lambda one: (one.slack_px, one.left_mm is None))
        own = {row.event_id for row in rows}
        for row in self._near(window):
            if row.event_id in own or row.verdict == "rejected":
                continue
            x1, y1, x2, y2 = box = window.box_of(row)
            if min(x2 - x1, y2 - y1) >= LEAST_PART_PX:
                yield _region(row, box, "queued")

    def _near(self, window: _Window) -> Iterator[DefectRow]:
        """Yield the defects that may reach into the lines of an image."""
        first_m, last_m = window.reach_m
        for number in np.flatnonzero((self._ends_m >= first_m) & (self._starts_m <= last_m)):
            yield self._roll.defects[int(number)]


def _region(row: DefectRow, box: BoxXyxy, review: ReviewState) -> Region:
    label = row.named or row.defect.class_name
    is_judged = review in ("accepted", "corrected") and row.verdict_by is not None
    who = f"user {row.verdict_by}" if is_judged else ANNOTATOR
    return Region(label, box, score=row.defect.score, annotator=who, review=review)


def _cut(box: BoxXyxy, size_hw_px: tuple[int, int]) -> BoxXyxy:
    """Cut a box at the sides of its image: that of a strip may begin on the lines before."""
    height, width = size_hw_px
    x1, y1, x2, y2 = box
    return max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Compare boxes with the roll.

    Attributes:
        along_mm, across_mm: of a line and of a column; 0 if not known.
    """

    along_mm: float
    across_mm: float

    @property
    def is_known(self) -> bool:
        """Whether places on the roll can be told in pixels."""
        return min(self.along_mm, self.across_mm) > 0

    def beyond_px(self, row: DefectRow) -> tuple[float, float]:
        """Return by how much a defect is longer, and wider, than its box."""
        if not self.is_known:
            return 0.0, 0.0
        x1, y1, x2, y2 = row.box_xyxy_px or (0.0, 0.0, 0.0, 0.0)
        defect = row.defect
        along_px = (defect.end_m - defect.start_m) * 1000 / self.along_mm - (y2 - y1)
        return along_px, (defect.right_mm - defect.left_mm) / self.across_mm - (x2 - x1)

    def is_whole(self, row: DefectRow, size_hw_px: tuple[int, int]) -> bool:
        """Tell whether a box holds all that its image shows of a defect: where it goes on, it leaves it."""
        x1, y1, x2, y2 = row.box_xyxy_px or (0.0, 0.0, 0.0, 0.0)
        height, width = size_hw_px
        along_px, across_px = self.beyond_px(row)
        leaves_along = min(y1, height - y2) <= JITTER_PX
        leaves_across = min(x1, width - x2) <= JITTER_PX
        return (along_px <= JITTER_PX or leaves_along) and (across_px <= JITTER_PX or leaves_across)


@dataclass(frozen=True, slots=True)
class _Window:
    """Say which cloth an image shows, by a defect whose image it is.

    Attributes:
        size_hw_px: of the image.
        scale: of the roll.
        first_m: place on the roll of its first line, at the earliest.
        slack_px: by how many lines it may lie further on.
        left_mm: from the left selvedge to column 0; None if the defect does not say it exactly.
    """

    size_hw_px: tuple[int, int]
    scale: _Scale
    first_m: float
    slack_px: float
    left_mm: float | None

    @classmethod
    def by(cls, row: DefectRow, size_hw_px: tuple[int, int], scale: _Scale) -> _Window:
        """Place an image by a defect and its box."""
        x1, y1, _, y2 = row.box_xyxy_px or (0.0, 0.0, 0.0, 0.0)
        along_px, across_px = scale.beyond_px(row)
        left_mm = row.defect.left_mm - x1 * scale.across_mm if across_px <= JITTER_PX else None
        begins_here = along_px <= JITTER_PX or y1 > JITTER_PX
        ends_here = size_hw_px[0] - y2 > JITTER_PX
        m_per_line = scale.along_mm / 1000
        first_m = row.defect.start_m - y1 * m_per_line
        if ends_here and not begins_here:
            first_m = row.defect.end_m - y2 * m_per_line
        slack_px = 0.0 if begins_here or ends_here else along_px
        return cls(size_hw_px, scale, first_m, slack_px, left_mm)

    @property
    def reach_m(self) -> tuple[float, float]:
        """First and last place on the roll that the image may show."""
        lines = self.size_hw_px[0] + self.slack_px
        return self.first_m, self.first_m + lines * self.scale.along_mm / 1000

    def box_of(self, row: DefectRow) -> BoxXyxy:
        """Return where a defect of the roll may lie in the image, cut at its sides."""
        m_per_line = self.scale.along_mm / 1000
        top = (row.defect.start_m - self.first_m) / m_per_line - self.slack_px
        bottom = (row.defect.end_m - self.first_m) / m_per_line
        left, right = 0.0, float(self.size_hw_px[1])
        if self.left_mm is not None:
            left = (row.defect.left_mm - self.left_mm) / self.scale.across_mm
            right = (row.defect.right_mm - self.left_mm) / self.scale.across_mm
        return _cut((left, top, right, bottom), self.size_hw_px)


def _common_scale(rolls: Sequence[Roll]) -> float | None:
    """Return the scale that all rolls have; None if they differ, or one does not know it."""
    scales = {scale_of(roll) for roll in rolls if roll.defects}
    return scales.pop() if len(scales) == 1 else None


def scale_of(roll: Roll) -> float | None:
    """Return the millimetres per column of a roll's images; None if not known."""
    try:
        [stated] = finite_numbers([roll.settings.get("mm_per_px")])
    except ValueError:
        stated = 0.0
    return stated if stated > 0 else round(roll.m_per_line * 1000, 6) or None

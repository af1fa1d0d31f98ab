"""Hold a review of one data set folder: its images, its decisions, and its files."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from distill.labels.formats import yolo
from distill.labels.review.choices import Choice, judged
from distill.labels.review.decisions import (
    ReviewDecision,
    applied,
    apply_reviews,
    deciders,
    not_undone,
    undoing,
)
from distill.labels.review.log import ReviewLog
from distill.labels.review.order import Wanted, hardest_first
from distill.labels.review.rewriting import update_manifest, write_coco_files, write_label_file
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region, ReviewState
from edge.core.errors import DatasetError, LoomsightError
from edge.core.taxonomy import Taxonomy

logger = logging.getLogger(__name__)


class Session:
    """Review a folder; decisions that a crash left pending are written first.

    Attributes:
        class_names: of the data set, in the order of their ids.
        taxonomy: names of kinds.
        problems: what could not be read, file -> one line.
        root: folder that the file names start from.

    Args:
        folder: of the data set.
        log: of the same folder.
        taxonomy: to name kinds by.
    Raises:
        DatasetError: if the folder is no data set, or holds no image.
        OutputError: if pending decisions cannot be written.
    """

    def __init__(self, folder: Path, log: ReviewLog, taxonomy: Taxonomy) -> None:
        self._log = log
        self._lock = threading.RLock()
        self.taxonomy = taxonomy
        label_set = self._caught_up(folder, yolo.read(folder))
        if not label_set.images:
            first = next((f" ({name}: {line})" for name, line in label_set.problems.items()), "")
            raise DatasetError(f"{folder} holds no image to review{first}.", "Name another folder.")
        self._label_set = replace(label_set, images=())
        self._images = {image.file_name: image for image in label_set.images}
        self.root, self.class_names = label_set.root, label_set.class_names
        self.problems: Mapping[str, str] = label_set.problems
        everything: tuple[Wanted, ...] = ("queued", "all")
        self._orders = {wanted: hardest_first(label_set.images, wanted) for wanted in everything}
        self._states = Counter(r.review for image in label_set.images for r in image.regions)
        self._versions: dict[str, int] = {}
        for decision in log.decisions:
            self._versions[decision.image_name] = decision.number
        self._undoable = not_undone(log.decisions)
        self._with_base: set[str] = set()

    def order(self, wanted: Wanted) -> list[str]:
        """Return the images as they were ranked when the review began, so that none jumps about."""
        return self._orders[wanted]

    def image(self, name: str) -> AnnotatedImage:
        """Return an image as it is now.

        Raises:
            DatasetError: if there is no such image.
        """
        if name not in self._images:
            raise DatasetError(f"There is no image '{name}' in this data set.", "Load the page again.")
        return self._images[name]

    def count(self, state: ReviewState) -> int:
        """Return how many regions are in a state."""
        return self._states[state]

    def version(self, name: str) -> int:
        """Return the number of the last decision on an image; 0 if there is none."""
        return self._versions.get(name, 0)

    def deciders(self, name: str) -> dict[int, str | None]:
        """Return who decided on the regions of an image; see `decisions.deciders`."""
        return deciders(self._undoable, name)

    def next_undo(self) -> ReviewDecision | None:
        """Return the decision that `undo` would take back."""
        return self._undoable[-1] if self._undoable else None

    def decide(self, choice: Choice) -> str | None:
        """Record a decision, then write the label file of its image.

        Returns:
            What went wrong after it was recorded; None if nothing did.
        Raises:
            DatasetError: if it makes no sense, or the image was changed in another window.
            OutputError: if it cannot be recorded; everything is then as it was.
        """
        with self._lock:
            image = self.image(choice.image_name)
            if choice.version != self.version(image.file_name):
                raise DatasetError(
                    f"{image.file_name} was changed in another window.", "Look at it as it is now."
                )
            now = judged(choice, image, self.class_names, self.taxonomy)
            place = len(image.regions) if choice.action == "add" else choice.place
            was = None if choice.action == "add" else image.regions[place]
            decision = ReviewDecision(
                self._next_number(), image.file_name, choice.action, place, was, now, self._base(image),
                by=choice.by,
            )  # fmt: skip
            warning = self._record(decision)
            self._undoable.append(decision)
            return warning

    def undo(self, by: str | None = None) -> tuple[str, str | None]:
        """Take back the last decision that is not taken back yet, also one of an earlier review.

        Args:
            by: name of the person; None where nobody gave one.
        Returns:
            The image, and what `decide` returns.
        Raises:
            DatasetError: if there is none, or its region was changed by other means.
            OutputError: if it cannot be recorded.
        """
        with self._lock:
            last = self.next_undo()
            if last is None:
                raise DatasetError("There is nothing to undo.", "Decide something first.")
            image = self.image(last.image_name)
            decision = undoing(last, image.regions, self._next_number(), self._base(image))
            if decision is None:
                raise DatasetError(
                    f"{last.image_name} was changed by other means since.", "Decide on it once more."
                )
            warning = self._record(replace(decision, by=by))
            self._undoable.pop()
            return last.image_name, warning

    def finish(self) -> int:
        """Write label files, COCO files and manifest of all that is pending.

        Returns:
            How many decisions were pending.
        Raises:
            DatasetError: if a COCO file or the manifest is damaged.
            OutputError: if a file cannot be written.
        """
        with self._lock:
            pending = self._log.pending
            self._write(replace(self._label_set, images=tuple(self._images.values())))
            self._with_base.clear()
            return pending

    def _caught_up(self, folder: Path, label_set: LabelSet) -> LabelSet:
        if not self._log.pending:
            return label_set
        pending = self._log.decisions[-self._log.pending :]
        for name in sorted({one.image_name for one in pending} - {i.file_name for i in label_set.images}):
            logger.warning("%s was decided on and is no longer there", name)
        logger.info("%d decisions of an earlier review are written now", len(pending))
        self._write(apply_reviews(label_set, pending))
        return yolo.read(folder)

    def _write(self, label_set: LabelSet) -> None:
        if not self._log.pending:
            return
        names = {decision.image_name for decision in self._log.decisions[-self._log.pending :]}
        images = [image for image in label_set.images if image.file_name in names]
        files = [write_label_file(label_set.root, image, label_set.class_names) for image in images]
        files += write_coco_files(label_set, names)
        update_manifest(label_set.root, files)
        self._log.mark_written()

    def _record(self, decision: ReviewDecision) -> str | None:
        self._log.append(decision)
        self._with_base.add(decision.image_name)
        image = self._images[decision.image_name]
        changed = replace(image, regions=applied(image.regions, decision))
        self._images[decision.image_name] = changed
        self._versions[decision.image_name] = decision.number
        self._states.subtract(region.review for region in image.regions)
        self._states.update(region.review for region in changed.regions)
        try:
            write_label_file(self.root, changed, self.class_names)
        except LoomsightError as error:
            return f"Recorded, but the label file is not up to date yet: {error}"
        return None

    def _next_number(self) -> int:
        return self._log.decisions[-1].number + 1 if self._log.decisions else 1

    def _base(self, image: AnnotatedImage) -> tuple[Region, ...] | None:
        """Return the regions of an image if no pending decision holds them yet."""
        return None if image.file_name in self._with_base else image.regions

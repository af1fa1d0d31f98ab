"""Ask a Florence-2 about the image that is shown: the prompt panel."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from distill.labels.florence.tasks import TASKS, task_named
from distill.labels.formats.location_tokens import place_text
from distill.labels.review.session import Session
from distill.labels.review.views import region_view
from distill.labels.sets.image_files import decoded
from edge.core.errors import LoomsightError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distill.labels.florence.annotate import Question
    from distill.labels.florence.outputs import Answer
    from edge.core.taxonomy import Taxonomy

NO_TEACHER = "Start `loomsight review` with `--teacher MODEL` to ask a Florence-2 about the image."


class Teacher(Protocol):
    """Answer questions about images, as `FlorenceAnnotator` does."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]: ...


def load_florence(model: str, taxonomy: Taxonomy) -> Teacher:
    """Load a teacher.

    Args:
        model: hub id or folder.
        taxonomy: to look names up in.
    Raises:
        CheckpointError: if it cannot be loaded.
    """
    from distill.core.precision import choose_device
    from distill.labels.florence.annotate import FlorenceAnnotator
    from distill.labels.florence.loading import load_teacher

    return FlorenceAnnotator(load_teacher(model, device=choose_device("auto")), taxonomy)


@dataclass(frozen=True)
class Panel:
    """Ask the teacher about images of a review, one question at a time.

    Attributes:
        session: of the review.
        teacher: None if there is none.
    """

    session: Session
    teacher: Teacher | None
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, task: str, text: str, image_name: str, place: int) -> tuple[str, list[dict[str, Any]]]:
        """Return what the teacher says, and the regions in it.

        Args:
            task: a `TaskName`.
            text: words or location tokens behind the task; where the task takes a place and there is no
                text, it is the place of the region below.
            image_name: file name.
            place: of the region that is selected; -1 if none is.
        """
        if self.teacher is None:
            return NO_TEACHER, []
        try:
            with self._one_at_a_time:
                answer = self.teacher.answer([self._question(task, text.strip(), image_name, place)])[0]
        except LoomsightError as error:
            return f"error: {error}", []
        regions = [region_view(region) for region in answer.regions]
        return _shown(answer.text, regions), regions

    def _question(self, task: str, text: str, image_name: str, place: int) -> Question:
        from distill.labels.florence.annotate import Question

        name = task_named(task)
        image = self.session.image(image_name)
        if TASKS[name].takes == "place" and not text and 0 <= place < len(image.regions):
            text = place_text(image.regions[place].box_xyxy_px, image.size_hw_px)
        return Question(name, decoded(self.session.root / image_name), text)


def _shown(text: str, regions: list[dict[str, Any]]) -> str:
    """Return an answer as text: a line per region, or what was said."""
    lines = [
        f"{region['label']}  {region['score'] if region['score'] is not None else 1:.2f}  "
        + ", ".join(f"{corner:.1f}" for corner in region["box"])
        for region in regions
    ]
    return "\n".join(lines) or text or "(nothing)"

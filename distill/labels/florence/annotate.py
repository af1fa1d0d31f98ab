"""Annotate by the teacher: images in, regions with scores out, whole or tile by tile."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.labels.annotators.tiling import look_by_tiles, without_duplicates
from distill.labels.florence.generation import Said, generate, model_inputs
from distill.labels.florence.grammar import BoxGrammar, TokenIds, grammar_of, prefix_function
from distill.labels.florence.loading import Teacher
from distill.labels.florence.outputs import ANNOTATOR, Answer, read_answer, region_of, whole_box
from distill.labels.florence.scores import ScoredBox, scored_boxes
from distill.labels.florence.settings import AnnotationSettings, TaskName
from distill.labels.florence.tasks import TASKS, grounding_text, prompt_for
from distill.labels.formats.location_tokens import label_from_written, xy_from_bins
from distill.labels.sets.annotations import Region
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy

NO_IMAGE_HW_PX = (1000, 1000)
"""Places in the answer to a question without an image are given in bins."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """Ask something of an image, of a text, or of both.

    Attributes:
        task: what is asked.
        image: (H, W) grey or (H, W, 3) BGR, uint8; None asks with text alone.
        text: what stands behind the task: words, names or location tokens.
    """

    task: TaskName
    image: Image | None = None
    text: str = ""


class FlorenceAnnotator:
    """Look at images with a Florence-2.

    With a vocabulary it finds those classes (object detection, or grounding where they are not the classes
    it was taught); without one it finds what is there and names it (dense region caption).

    Args:
        teacher: loaded, in eval mode.
        taxonomy: to look names up in.
        settings: how it is asked.
        name: what its regions are said to come from.
        report_cuts: log a warning if an answer is cut; a teacher that is still learning often has no end.
    """

    def __init__(
        self,
        teacher: Teacher,
        taxonomy: Taxonomy,
        settings: AnnotationSettings | None = None,
        name: str = ANNOTATOR,
        *,
        report_cuts: bool = True,
    ) -> None:
        self.name = name
        self._teacher = teacher
        self._taxonomy = taxonomy
        self._settings = settings or AnnotationSettings(vocabulary=taxonomy.classes)
        self._ids = TokenIds.of(teacher.processor.tokenizer)
        self._grammars: dict[tuple[str, ...] | None, BoxGrammar] = {}
        self._reports_cuts = report_cuts

    def annotate(self, images: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Say what is in each image; images larger than a tile are looked at tile by tile.

        Args:
            images: (H, W) grey or (H, W, 3) BGR, uint8, of any sizes.
        Returns:
            Per image its regions by falling score, in its pixels.
        """
        return look_by_tiles(images, self._settings, self._look)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer questions, as many at once as the settings say.

        Raises:
            ConfigError: if a task takes no text and gets some, or lacks it.
        """
        answers: list[Answer | None] = [None] * len(questions)
        for batch in self._batches(questions):
            for index, answer in zip(batch, self._answer_batch([questions[i] for i in batch]), strict=True):
                answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def _look(self, cuts: Sequence[Image]) -> list[tuple[Region, ...]]:
        return [answer.regions for answer in self.answer([self._question(cut) for cut in cuts])]

    def _question(self, image: Image) -> Question:
        vocabulary = self._settings.vocabulary
        if vocabulary is None:
            return Question("dense_region_caption", image)
        if set(vocabulary) <= set(self._taxonomy.classes):
            return Question("detection", image)
        return Question("grounding", image, grounding_text(vocabulary))

    def _batches(self, questions: Sequence[Question]) -> Iterator[list[int]]:
        """Put questions of one task and length together: no answer then depends on its neighbours."""
        alike: dict[tuple[str, str, bool], list[int]] = {}
        for index, question in enumerate(questions):
            key = (question.task, question.text, question.image is None)
            alike.setdefault(key, []).append(index)
        for indices in alike.values():
            for start in range(0, len(indices), self._settings.batch):
                yield indices[start : start + self._settings.batch]

    def _answer_batch(self, questions: Sequence[Question]) -> list[Answer]:
        task, text = questions[0].task, questions[0].text
        images = [question.image for question in questions if question.image is not None]
        prompts = [prompt_for(task, text)] * len(questions)
        inputs = model_inputs(self._teacher, images or None, prompts)
        said = generate(
            self._teacher,
            inputs,
            beams=self._settings.beams,
            max_new_tokens=self._settings.max_new_tokens,
            allowed=self._allowed(task),
            may_repeat=TASKS[task].gives != "text",
        )
        self._report_cut_answers(said)
        return [self._read(question, one) for question, one in zip(questions, said, strict=True)]

    def _report_cut_answers(self, said: Sequence[Said]) -> None:
        """Log one warning if an answer has as many tokens as are permitted: later boxes are lacking."""
        longest = self._settings.max_new_tokens
        lengths = [sum(token != self._ids.pad for token in one.tokens) for one in said]
        if max(lengths) < longest or not self._reports_cuts:
            return
        self._reports_cuts = False
        log.warning(
            "an answer was cut at max_new_tokens = %d: what it would have named behind that is lacking, "
            "here and wherever it happens again. Raise max_new_tokens, or cut the images into tiles.",
            longest,
        )

    def _allowed(self, task: TaskName) -> Any:
        """Return the constraint of a task; None where nothing is to be constrained."""
        if not self._settings.constrained or TASKS[task].gives != "boxes":
            return None
        names = self._names(task)
        if names not in self._grammars:
            self._grammars[names] = grammar_of(self._teacher.processor.tokenizer, names)
        return prefix_function(self._grammars[names])

    def _names(self, task: TaskName) -> tuple[str, ...] | None:
        """Return the names that an answer may use; None for any."""
        vocabulary = self._settings.vocabulary
        if vocabulary is None or task != "dense_region_caption":
            return vocabulary
        kinds = [str(k) for k in self._taxonomy.kinds if {k.parent, k.category, k.phrase} & set(vocabulary)]
        return (*vocabulary, *kinds)

    def _read(self, question: Question, said: Said) -> Answer:
        size = question.image.shape[:2] if question.image is not None else NO_IMAGE_HW_PX
        size_hw_px = (size[0], size[1])
        text = self._teacher.processor.tokenizer.decode(said.tokens, skip_special_tokens=False)
        answer = read_answer(question.task, text, size_hw_px, self._taxonomy, question.text)
        kind = TASKS[question.task].gives
        if kind == "boxes":
            boxes = scored_boxes(said.tokens, said.log_probabilities, self._ids)
            return replace(answer, regions=self._regions(boxes, size_hw_px))
        score = _certainty(said, self._ids)
        return replace(answer, regions=tuple(replace(r, score=score) for r in answer.regions))

    def _regions(self, boxes: Sequence[ScoredBox], size_hw_px: tuple[int, int]) -> tuple[Region, ...]:
        """Make regions of the boxes that reach the floor, the same one once, by falling score."""
        regions = [
            self._region(box, size_hw_px) for box in boxes if box.score >= self._settings.score_floor
        ]
        return without_duplicates([r for r in regions if r.label], self._settings.iou_threshold)

    def _region(self, box: ScoredBox, size_hw_px: tuple[int, int]) -> Region:
        words = self._teacher.processor.tokenizer.decode(box.name_tokens, skip_special_tokens=True)
        x1, y1, x2, y2 = xy_from_bins(np.array(box.bins), size_hw_px).tolist()
        place = whole_box((x1, y1, x2, y2), size_hw_px)
        region = region_of(label_from_written(words), place, self._taxonomy, box.score)
        return replace(region, annotator=self.name)


def _certainty(said: Said, ids: TokenIds) -> float:
    """Return the geometric mean of the probabilities of all tokens that were said, in [0, 1]."""
    values = [
        value
        for token, value in zip(said.tokens, said.log_probabilities, strict=True)
        if token not in (ids.begin, ids.end, ids.pad)
    ]
    return math.exp(min(0.0, sum(values) / len(values))) if values else 0.0

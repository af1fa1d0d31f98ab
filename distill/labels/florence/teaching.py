"""From turns of the timetable to tensors, and from tensors to a loss."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from distill.labels.florence.generation import model_inputs
from distill.labels.florence.loading import Teacher
from distill.labels.florence.settings import TaskName
from distill.labels.florence.tasks import AnswerExample, examples_of
from distill.labels.florence.timetable import Turn
from distill.labels.formats.flip import flipped_image, flipped_labels
from distill.labels.sets.annotations import AnnotatedImage
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError
from edge.core.image import Image
from edge.core.taxonomy import Taxonomy

IGNORED = -100
"""Label of what is not learnt from: padding. torch's cross-entropy passes it over by default."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classroom:
    """Hold the images of a split, and what they are taught with.

    Attributes:
        root: folder that the file names start from.
        images: in the order that exercises count them.
        longest_answer: tokens; longer answers are cut there.
        unreadable: files that were skipped so far.
    """

    teacher: Teacher
    root: Path
    images: Sequence[AnnotatedImage]
    taxonomy: Taxonomy
    longest_answer: int
    unreadable: set[str]

    def tensors(self, turns: Sequence[Turn]) -> dict[str, Tensor] | None:
        """Make the tensors of a batch, `labels` among them; None if none of its images can be read."""
        pairs = [pair for turn in turns if (pair := self._taught(turn)) is not None]
        if not pairs:
            return None
        images, examples = zip(*pairs, strict=True)
        inputs = model_inputs(self.teacher, images, [example.prompt for example in examples])
        labels = labels_of(self.teacher.processor.tokenizer, examples, self.longest_answer)
        return {**inputs, "labels": labels.to(self.teacher.device)}

    def _taught(self, turn: Turn) -> tuple[Image, AnswerExample] | None:
        image = self.images[turn.exercise.image]
        try:
            pixels = decoded(self.root / image.file_name)
        except DatasetError as error:
            if image.file_name not in self.unreadable:
                self.unreadable.add(image.file_name)
                log.warning("left out: %s", error)
            return None
        examples = examples_of(turn.exercise.task, flipped_labels(image, turn.flips), self.taxonomy)
        return flipped_image(pixels, turn.flips), examples[turn.exercise.number]


def labels_of(tokenizer: Any, examples: Sequence[AnswerExample], longest: int) -> Tensor:
    """Make the tokens to be learnt, (B, T) int64; padding is `IGNORED`.

    Args:
        tokenizer: of the teacher.
        examples: B of them.
        longest: T is at most this.
    """
    made = tokenizer(
        [example.answer for example in examples],
        return_tensors="pt",
        padding=True,
        truncation=True,
        max_length=longest,
    )
    labels: Tensor = made["input_ids"].masked_fill(made["attention_mask"] == 0, IGNORED)
    return labels


def report_cut_answers(room: Classroom, tasks: Sequence[TaskName]) -> None:
    """Warn of answers that are longer than is taught: the boxes behind the cut are not learnt."""
    answers = [
        (image.file_name, example.answer)
        for task in tasks
        for image in room.images
        for example in examples_of(task, image, room.taxonomy)
    ]
    if not answers:
        return
    tokens = room.teacher.processor.tokenizer([answer for _, answer in answers], verbose=False)["input_ids"]
    cut = [name for (name, _), ids in zip(answers, tokens, strict=True) if len(ids) > room.longest_answer]
    if cut:
        log.warning(
            "%d of %d answers of the split 'train' are longer than max_new_tokens = %d (the longest has %d "
            "tokens) and are cut there, first that of %s: the boxes behind the cut are not learnt. "
            "Raise max_new_tokens, or cut the images into tiles.",
            len(cut),
            len(answers),
            room.longest_answer,
            max(map(len, tokens)),
            cut[0],
        )


def loss_of(model: Any, tensors: dict[str, Tensor], locations: Tensor, sigma_bins: float) -> Tensor:
    """Compute the mean loss over the tokens of a batch, in nats.

    Args:
        model: Florence-2, with or without adapters.
        tensors: see `Classroom.tensors`.
        locations: (1000,) ids of the location tokens.
        sigma_bins: with 0 only the right token counts; else tokens near a right location count as well,
            under a Gaussian of this width (soft labels over bins, as in Distribution Focal Loss, Li et al.
            2020, and with a bell as in Diaz and Marathe, Soft Labels for Ordinal Regression, 2019). What
            the model reads back of its answer is drawn under the same bell: when it answers it reads what
            it wrote, which is seldom the right token itself (Bengio et al., Scheduled Sampling, 2015).
    """
    if sigma_bins == 0:
        loss: Tensor = model(**tensors, use_cache=False).loss
        return loss
    labels = tensors["labels"]
    is_place = torch.isin(labels, locations)
    is_word = (labels != IGNORED) & ~is_place
    bins = (labels[is_place][:, None] == locations[None]).int().argmax(dim=1)
    bell = _bells(bins, len(locations), sigma_bins)
    read_back = labels.clone()
    if len(bins):
        read_back[is_place] = locations[torch.multinomial(bell, 1)[:, 0]]
    logits = model(**{**tensors, "labels": read_back}, use_cache=False).logits
    log_probabilities = functional.log_softmax(logits.float(), dim=-1)
    words = log_probabilities[is_word].gather(1, labels[is_word][:, None])
    places = log_probabilities[is_place][:, locations] * bell
    return -(words.sum() + places.sum()) / (is_word.sum() + is_place.sum())


def _bells(bins: Tensor, count: int, sigma_bins: float) -> Tensor:
    """Return a distribution over bins around each of N bins, (N, count) float32; each row sums to 1."""
    away = torch.arange(count, device=bins.device)[None] - bins[:, None]
    bell = torch.exp(-0.5 * (away / sigma_bins) ** 2)
    return bell / bell.sum(dim=1, keepdim=True)

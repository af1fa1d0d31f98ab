"""Compute a score for each box from the probabilities of its tokens.

Florence-2 gives no confidence of its own. The score of a box is p_label * p_loc: the probability of its
name, exp(sum of the log-probabilities of its tokens), times how sure the model was of the place,
exp(mean of those of its four location tokens). It ranks boxes; what it says of the fraction that are right
is for calibration to find out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.labels.florence.grammar import CORNERS, TokenIds


@dataclass(frozen=True, slots=True)
class ScoredBox:
    """Hold a box as the teacher wrote it.

    Attributes:
        name_tokens: its name.
        bins: x1, y1, x2, y2, each 0..999.
        label_probability, place_probability: in [0, 1].
    """

    name_tokens: tuple[int, ...]
    bins: tuple[int, int, int, int]
    label_probability: float
    place_probability: float

    @property
    def score(self) -> float:
        """Their product, in [0, 1]."""
        return self.label_probability * self.place_probability


def token_log_probabilities(model: Any, generated: Any) -> Tensor:
    """Return the log-probability of each token that was generated, among those it could have been.

    Args:
        model: the one that generated.
        generated: what `generate(return_dict_in_generate=True, output_scores=True)` gave.
    Returns:
        (B, T) float32, on the processor; T is the number of tokens behind the one that starts the decoder.
    """
    with torch.inference_mode():
        log_probabilities: Tensor = model.compute_transition_scores(
            generated.sequences,
            generated.scores,
            getattr(generated, "beam_indices", None),
            normalize_logits=True,
        )
    return log_probabilities.float().cpu()


def scored_boxes(
    tokens: Sequence[int], log_probabilities: Sequence[float], ids: TokenIds
) -> list[ScoredBox]:
    """Find the boxes in an answer; what is not a name and then whole boxes is skipped.

    Args:
        tokens: of the answer, behind the token that starts the decoder.
        log_probabilities: of each, <= 0.
        ids: of the tokenizer.
    """
    boxes: list[ScoredBox] = []
    name: list[int] = []
    places: list[int] = []
    for position, token in enumerate(tokens):
        if token == ids.end and position:
            break
        if token == ids.begin:
            continue
        if token not in ids.bin_of:
            if places:
                name, places = [], []
            name.append(position)
            continue
        places.append(position)
        if name and len(places) % CORNERS == 0:
            boxes.append(_scored(tokens, log_probabilities, name, places[-CORNERS:], ids))
    return boxes


def _scored(
    tokens: Sequence[int],
    log_probabilities: Sequence[float],
    name: Sequence[int],
    places: Sequence[int],
    ids: TokenIds,
) -> ScoredBox:
    x1, y1, x2, y2 = (ids.bin_of[tokens[position]] for position in places)
    label = math.exp(min(0.0, sum(log_probabilities[position] for position in name)))
    place = math.exp(min(0.0, sum(log_probabilities[position] for position in places) / CORNERS))
    return ScoredBox(tuple(tokens[position] for position in name), (x1, y1, x2, y2), label, place)

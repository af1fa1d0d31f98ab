"""Ask a Grounding DINO (Liu et al., ECCV 2024): one sentence of all prompts, a score per token of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.image_transforms import center_to_corners_format

from distill.labels.zero_shot.found import BoxesOfView, together
from distill.labels.zero_shot.loading import OpenDetector
from distill.labels.zero_shot.prompts import in_groups
from edge.core.errors import ConfigError

USUAL_THRESHOLD = 0.25
FRAME_TOKENS = 2
"""[CLS] before the sentence and [SEP] behind it."""


class GroundingDinoQuery:
    """Ask for the same words again and again.

    What a sentence of all prompts is too long for is asked in several.

    Args:
        detector: a Grounding DINO.
        texts: small letters, without full stops.

    Raises:
        ConfigError: if a single one is too long, or the tokenizer makes nothing of it.
    """

    usual_threshold = USUAL_THRESHOLD

    def __init__(self, detector: OpenDetector, texts: Sequence[str]) -> None:
        self._detector = detector
        self._texts = list(texts)
        tokenizer = detector.processor.tokenizer
        self._full_stop = tokenizer.convert_tokens_to_ids(".")
        self._frame = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
        longest = detector.model.config.max_text_len - FRAME_TOKENS
        lengths = [len(tokenizer(text, add_special_tokens=False).input_ids) + 1 for text in texts]
        for text, length in zip(texts, lengths, strict=True):
            if not 1 < length <= longest:
                raise ConfigError(
                    f"The words '{text[:60]}' make {length - 1} tokens; {detector.source} takes 1 to "
                    f"{longest - 1}.",
                    "Use other words in the taxonomy or the negative prompts.",
                )
        self._groups = in_groups(lengths, longest)

    def find(self, images_rgb: Sequence[NDArray[np.uint8]], threshold: float) -> list[BoxesOfView]:
        """Find what the words describe in images of one size.

        Args:
            images_rgb: each (H, W, 3) uint8.
            threshold: least score.
        """
        parts = [self._find_group(images_rgb, group, threshold) for group in self._groups]
        return [together(list(of_one)) for of_one in zip(*parts, strict=True)]

    @torch.inference_mode()
    def _find_group(
        self, images_rgb: Sequence[NDArray[np.uint8]], group: Sequence[int], threshold: float
    ) -> list[BoxesOfView]:
        sentence = ". ".join(self._texts[index] for index in group) + "."
        made = self._detector.processor(
            images=list(images_rgb),
            text=[sentence] * len(images_rgb),
            return_tensors="pt",
            input_data_format="channels_last",
        )
        inputs = {key: _moved(value, self._detector) for key, value in made.items()}
        outputs = self._detector.model(**inputs)
        spans = self._spans(made["input_ids"][0].tolist())
        height, width = images_rgb[0].shape[:2]
        sides = torch.tensor([width, height, width, height], dtype=torch.float32)
        corners: Any = center_to_corners_format(outputs.pred_boxes.float().cpu())
        boxes: Tensor = corners * sides
        # The stock post-processor joins the tokens above a threshold, of whatever phrases, to one label.
        scores = scores_of_phrases(outputs.logits.float().cpu().sigmoid(), spans)
        numbers = torch.tensor(group)
        return [_above(boxes[i], scores[i], numbers, threshold) for i in range(len(images_rgb))]

    def _spans(self, ids: Sequence[int]) -> list[list[int]]:
        """Return the positions of the tokens of each phrase of a sentence."""
        spans: list[list[int]] = [[]]
        for position, token in enumerate(ids):
            if token == self._full_stop:
                spans.append([])
            elif token not in self._frame:
                spans[-1].append(position)
        return spans[:-1]


def scores_of_phrases(token_scores: Tensor, spans: Sequence[Sequence[int]]) -> Tensor:
    """Score phrases by the best of their tokens, as the model's own box score is the best of all tokens.

    Args:
        token_scores: (B, N, T) in [0, 1].
        spans: for each of P phrases, its positions in T, at least one.
    Returns:
        (B, N, P).
    """
    return torch.stack([token_scores[..., list(span)].amax(dim=-1) for span in spans], dim=-1)


def _above(boxes: Tensor, scores: Tensor, numbers: Tensor, threshold: float) -> BoxesOfView:
    """Keep boxes whose best phrase reaches a score."""
    best, phrase = scores.max(dim=-1)
    kept = best >= threshold
    return BoxesOfView(boxes[kept], best[kept], numbers[phrase[kept]])


def _moved(value: Tensor, detector: OpenDetector) -> Tensor:
    return value.to(detector.device, detector.dtype if value.is_floating_point() else value.dtype)

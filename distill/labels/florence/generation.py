"""Ask the teacher, several images at once: tensors in, tokens and their probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.labels.annotators.processor_images import rgb_from_image
from distill.labels.florence.loading import Teacher
from distill.labels.florence.scores import token_log_probabilities
from edge.core.image import Image


@dataclass(frozen=True, slots=True)
class Said:
    """Hold one answer as it was generated.

    Attributes:
        tokens: behind the token that starts the decoder.
        log_probabilities: of each.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]


def model_inputs(
    teacher: Teacher, images: Sequence[Image] | None, prompts: Sequence[str]
) -> dict[str, Tensor]:
    """Make the tensors of a batch, on the model's device and in its type.

    Args:
        teacher: whose processor is used.
        images: as many as there are prompts; None asks with text alone.
        prompts: as `prompt_for` makes them.
    """
    if images is None:
        made = teacher.processor(text=list(prompts), return_tensors="pt", padding=True)
    else:
        images_rgb = [rgb_from_image(image) for image in images]
        made = teacher.processor(images=images_rgb, text=list(prompts), return_tensors="pt", padding=True)
    dtype = next(teacher.model.parameters()).dtype
    wanted = {key: made[key] for key in ("input_ids", "attention_mask", "pixel_values") if key in made}
    return {
        key: value.to(teacher.device, dtype if value.is_floating_point() else value.dtype)
        for key, value in wanted.items()
    }


def generate(
    teacher: Teacher,
    inputs: dict[str, Tensor],
    *,
    beams: int,
    max_new_tokens: int,
    allowed: Callable[[int, Tensor], Any] | None = None,
    may_repeat: bool = True,
) -> list[Said]:
    """Generate an answer for each row of a batch.

    Args:
        teacher: in eval mode.
        inputs: see `model_inputs`.
        beams: 1 is greedy.
        max_new_tokens: longer answers are cut there.
        allowed: see `grammar.prefix_function`; None allows everything.
        may_repeat: Florence-2's own settings forbid to say three tokens twice, which is right for captions
            and makes a second box of one class impossible.
    """
    limits = {"no_repeat_ngram_size": 0} if may_repeat else {}
    with torch.inference_mode():
        generated = teacher.model.generate(
            **inputs,
            num_beams=beams,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            prefix_allowed_tokens_fn=allowed,
            return_dict_in_generate=True,
            output_scores=True,
            **limits,
        )
    log_probabilities = token_log_probabilities(teacher.model, generated)
    tokens = generated.sequences[:, 1:].cpu()
    return [
        Said(tuple(row), tuple(values))
        for row, values in zip(tokens.tolist(), log_probabilities.tolist(), strict=True)
    ]

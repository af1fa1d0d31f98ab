"""Load an open-vocabulary detector and its processor, from the hub or a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from distill.labels.annotators.model_source import (
    PROCESSOR_FILES,
    TOKENIZER_FILES,
    check_source,
    load_processor,
    load_weights,
)

GROUNDING_DINO_TYPES = frozenset({"grounding-dino", "mm-grounding-dino"})
OWL_TYPES = frozenset({"owlvit", "owlv2"})

EXAMPLE = "IDEA-Research/grounding-dino-base or google/owlv2-base-patch16-ensemble"

_FILES = {"processor": PROCESSOR_FILES, "tokenizer": TOKENIZER_FILES}


@dataclass(frozen=True, slots=True)
class OpenDetector:
    """Hold an open-vocabulary detector that is ready to be asked.

    Attributes:
        model: in eval mode.
        processor: makes tensors of images and words.
        model_type: as in its config.json.
        source: hub id or folder it came from.
    """

    model: Any
    processor: Any
    model_type: str
    source: str

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its weights."""
        dtype: torch.dtype = next(self.model.parameters()).dtype
        return dtype


def load_open_detector(source: str, *, device: torch.device | None = None) -> OpenDetector:
    """Load a Grounding DINO, OWL-ViT or OWLv2.

    Args:
        source: hub id, for instance IDEA-Research/grounding-dino-base, or a folder.
        device: None for the processor.
    Raises:
        CheckpointError: if it cannot be had, is damaged, is another kind of model, or lacks its processor
            or tokenizer.
    """
    model_type = check_source(source, GROUNDING_DINO_TYPES | OWL_TYPES, EXAMPLE, _FILES)
    processor = load_processor(AutoProcessor, source)
    model = load_weights(AutoModelForZeroShotObjectDetection, source, device)
    return OpenDetector(model.requires_grad_(False), processor, model_type, source)

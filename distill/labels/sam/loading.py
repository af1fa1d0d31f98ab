"""Load a SAM and its processor from the hub or a folder, and write such a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import SamModel, SamProcessor

from distill.labels.annotators.model_source import (
    PROCESSOR_FILES,
    check_source,
    load_processor,
    load_weights,
)
from distill.labels.annotators.remarks import without_remarks

EXAMPLE = "facebook/sam-vit-base"


@dataclass(frozen=True, slots=True)
class Sam:
    """Hold a Segment Anything model that is ready to draw or to learn.

    Attributes:
        model: SamModel in eval mode, all weights frozen.
        processor: makes tensors of images.
        source: hub id or folder it came from.
    """

    model: Any
    processor: Any
    source: str

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = next(self.model.parameters()).device
        return device


def load_sam(source: str, *, device: torch.device | None = None) -> Sam:
    """Load a SAM.

    Args:
        source: hub id, for instance facebook/sam-vit-base, or a folder.
        device: None for the processor.
    Raises:
        CheckpointError: if it cannot be had, is damaged, is another kind of model (SAM 2 is one), or lacks
            its processor.
    """
    check_source(source, {"sam"}, EXAMPLE, {"processor": PROCESSOR_FILES})
    processor = load_processor(SamProcessor, source)
    model = load_weights(SamModel, source, device).requires_grad_(False)
    return Sam(model, processor, source)


def write_sam(model: Any, processor: Any, folder: Path) -> None:
    """Write a model and its processor as `load_sam` reads them."""
    with without_remarks():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)

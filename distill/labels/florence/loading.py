"""Load Florence-2, its processor and adapters, from the hub or a folder, and write such a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from distill.labels.annotators.model_source import (
    PROCESSOR_FILES,
    check_files,
    fingerprint_of,
    load_processor,
    load_weights,
    read_config,
)
from distill.labels.annotators.remarks import without_remarks
from distill.labels.florence.adapter import attach_adapter
from distill.labels.formats.location_tokens import BINS
from edge.core.errors import CheckpointError

NATIVE_SOURCES = "florence-community/Florence-2-base-ft or florence-community/Florence-2-large-ft"
MODEL_TYPE = "florence2"
REMOTE_TEXT_TYPE = "florence2_language"
"""Name of the text half in the layout of microsoft/Florence-2-*, which brings its own Python code."""

LOCATION_TOKENS = tuple(f"<loc_{number}>" for number in range(BINS))

_FILES = {"tokenizer": ("tokenizer.json", "vocab.json"), "processor": PROCESSOR_FILES}


@dataclass(frozen=True, slots=True)
class Teacher:
    """Hold a Florence-2 that is ready to be asked or taught.

    Attributes:
        model: Florence2ForConditionalGeneration, or a peft model around one.
        processor: makes tensors of images and prompts, and text of tokens.
        source: hub id or folder it came from.
        base_fingerprint: of the weights without an adapter.
    """

    model: Any
    processor: Any
    source: str
    base_fingerprint: str

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = next(self.model.parameters()).device
        return device


def load_teacher(
    source: str,
    adapter: Path | None = None,
    *,
    device: torch.device | None = None,
) -> Teacher:
    """Load a model and its processor, in eval mode.

    Args:
        source: hub id, for instance florence-community/Florence-2-base-ft, or a folder.
        adapter: folder of a LoRA adapter made for this model; None for none.
        device: None for the processor.
    Raises:
        CheckpointError: if it cannot be had, is damaged, is no Florence-2, is of the older layout with
            remote code, lacks its processor, or the adapter is for another model.
    """
    _check_layout(source)
    processor = _load_processor(source)
    model = load_weights(Florence2ForConditionalGeneration, source)
    fingerprint = fingerprint_of(model)
    if adapter is not None:
        model = attach_adapter(model, adapter, fingerprint, source)
    model = model.to(device or torch.device("cpu")).eval()
    return Teacher(model, processor, source, fingerprint)


def write_model_folder(model: Any, processor: Any, folder: Path) -> None:
    """Write a model without adapters and its processor as `load_teacher` reads them."""
    with without_remarks():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


def _check_layout(source: str) -> None:
    """Say clearly what is wrong, where transformers would say something obscure."""
    if source.lower().startswith("microsoft/florence-2") and not Path(source).is_dir():
        raise _remote_code_error(source)
    config = read_config(source, NATIVE_SOURCES)
    text_type = (config.get("text_config") or {}).get("model_type")
    if "auto_map" in config or text_type == REMOTE_TEXT_TYPE:
        raise _remote_code_error(source)
    if config.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{source} is not a Florence-2 but '{config.get('model_type', 'unknown')}'.",
            f"Name a folder or hub id of one, for instance {NATIVE_SOURCES}.",
        )
    if Path(source).is_dir():
        check_files(Path(source), _FILES)


def _remote_code_error(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} is in the older layout that brings its own Python code, which transformers no longer "
        "loads and this project never runs.",
        f"Use the same weights in the native layout: {NATIVE_SOURCES}.",
    )


def _load_processor(source: str) -> Any:
    processor = load_processor(Florence2Processor, source)
    known = processor.tokenizer.get_vocab()
    missing = [token for token in (*LOCATION_TOKENS, processor.image_token) if token not in known]
    if missing:
        raise CheckpointError(
            f"The tokenizer of {source} lacks {len(missing)} of Florence-2's tokens, first {missing[0]}.",
            "Use the tokenizer that belongs to the weights.",
        )
    return processor

"""Load Florence-2, its processor and adapters, from the hub or a folder, and write such a folder."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import Florence2ForConditionalGeneration, Florence2Processor, PretrainedConfig

from distill.labels.florence.adapter import attach_adapter
from distill.labels.florence.remarks import without_remarks
from distill.labels.location_tokens import BINS
from edge.errors import CheckpointError

NATIVE_SOURCES = "florence-community/Florence-2-base-ft or florence-community/Florence-2-large-ft"
MODEL_TYPE = "florence2"
REMOTE_TEXT_TYPE = "florence2_language"
"""Name of the text half in the layout of microsoft/Florence-2-*, which brings its own Python code."""

LOCATION_TOKENS = tuple(f"<loc_{number}>" for number in range(BINS))

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_DAMAGED = (
    OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, SafetensorError,
    StrictDataclassError,
)  # fmt: skip
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True, slots=True)
class Teacher:
    """A Florence-2 that is ready to be asked or taught.

    Attributes:
        model: Florence2ForConditionalGeneration, or a peft model around one.
        processor: makes tensors of pictures and prompts, and text of tokens.
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
    dtype: torch.dtype = torch.float32,
) -> Teacher:
    """Load a model and its processor, in eval mode.

    Args:
        source: hub id, for instance florence-community/Florence-2-base-ft, or a folder.
        adapter: folder of a LoRA adapter made for this model; None for none.
        device: None for the processor.
        dtype: of the weights.
    Raises:
        CheckpointError: if it cannot be had, is damaged, is no Florence-2, is of the older layout with
            remote code, lacks its processor, or the adapter is for another model.
    """
    _check_layout(source)
    with without_remarks():
        processor = _load_processor(source)
        model = _load_model(source)
    fingerprint = fingerprint_of(model)
    if adapter is not None:
        model = attach_adapter(model, adapter, fingerprint, source)
    model = model.to(device=device or torch.device("cpu"), dtype=dtype).eval()
    return Teacher(model, processor, source, fingerprint)


def write_model_folder(model: Any, processor: Any, folder: Path) -> None:
    """Write a model without adapters and its processor as `load_teacher` reads them."""
    with without_remarks():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


def fingerprint_of(model: Any) -> str:
    """Return a sha256 over the name, type and bytes of every weight."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_layout(source: str) -> None:
    """Say clearly what is wrong, where transformers would say something obscure."""
    if source.lower().startswith("microsoft/florence-2") and not Path(source).is_dir():
        raise _remote_code_error(source)
    config = _read_config(source)
    text_type = (config.get("text_config") or {}).get("model_type")
    if "auto_map" in config or text_type == REMOTE_TEXT_TYPE:
        raise _remote_code_error(source)
    if config.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{source} is not a Florence-2 but '{config.get('model_type', 'unknown')}'.",
            f"Name a folder or hub id of one, for instance {NATIVE_SOURCES}.",
        )
    if Path(source).is_dir():
        _check_files(Path(source))


def _remote_code_error(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} is in the older layout that brings its own Python code, which transformers no longer "
        "loads and this project never runs.",
        f"Use the same weights in the native layout: {NATIVE_SOURCES}.",
    )


def _read_config(source: str) -> dict[str, Any]:
    folder = Path(source)
    if folder.is_dir():
        return _read_local_config(folder)
    if folder.exists() or not _HUB_ID.fullmatch(source) or source.startswith("."):
        raise CheckpointError(
            f"There is no folder {source}.", f"Name a folder, or a hub id such as {NATIVE_SOURCES}."
        )
    try:
        config, _ = PretrainedConfig.get_config_dict(source)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{source} is neither a folder here nor to be had from the hub ({_first_line(error)}).",
            "Check the name and the network, or copy the model to a folder and name that.",
        ) from error
    return dict(config)


def _read_local_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is not the folder of a model: it has no config.json.",
            "Name the folder that save_pretrained or `hf download` wrote.",
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} cannot be read: {_first_line(error)}.", "Copy the folder again."
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / 'config.json'} holds no keys.", "Copy the folder again.")
    return config


def _check_files(folder: Path) -> None:
    """Check that tokenizer and processor lie beside the weights."""
    for names, what in ((_TOKENIZER_FILES, "tokenizer"), (_PROCESSOR_FILES, "processor")):
        if not any((folder / name).is_file() for name in names):
            raise CheckpointError(
                f"{folder} lacks its {what} ({' or '.join(names)}).",
                "Copy all files of the model, not only its weights.",
            )
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise CheckpointError(f"{folder} holds no weights.", "Copy all files of the model.")


def _load_processor(source: str) -> Any:
    try:
        processor = Florence2Processor.from_pretrained(source)
        known = processor.tokenizer.get_vocab()
        missing = [token for token in (*LOCATION_TOKENS, processor.image_token) if token not in known]
    except _DAMAGED as error:
        raise CheckpointError(
            f"The tokenizer or processor of {source} cannot be loaded: {_first_line(error)}.",
            "Copy all files of the model again.",
        ) from error
    if missing:
        raise CheckpointError(
            f"The tokenizer of {source} lacks {len(missing)} of Florence-2's tokens, first {missing[0]}.",
            "Use the tokenizer that belongs to the weights.",
        )
    return processor


def _load_model(source: str) -> Any:
    try:
        loaded: Any = Florence2ForConditionalGeneration.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True
        )
    except _DAMAGED as error:
        raise CheckpointError(
            f"The weights of {source} cannot be loaded: {_first_line(error)}.", "Copy the model again."
        ) from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"The weights of {source} lack {len(missing)} tensors, first {missing[0]}.",
            "Use weights in the native layout, complete.",
        )
    return model


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".:")

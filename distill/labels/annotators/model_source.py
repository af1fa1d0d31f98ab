"""Load models of transformers from a hub id or a folder; each failure is one line with a cure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PretrainedConfig

from distill.labels.annotators.hub import check_hub, is_hub_id, loading_options
from distill.labels.annotators.remarks import without_remarks
from edge.core.errors import CheckpointError
from edge.core.outside_documents import read_json

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt")

_DAMAGED = (
    OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError, SafetensorError,
    StrictDataclassError,
)  # fmt: skip


def check_source(
    source: str, model_types: Collection[str], example: str, files: Mapping[str, Sequence[str]]
) -> str:
    """Check that a source holds a model of a wanted type with all that belongs to it; return its type.

    Args:
        source: hub id or folder.
        model_types: wanted, as `model_type` in config.json.
        example: hub id of a model that would do, for the messages.
        files: what -> names of files of which a folder must hold one.
    Raises:
        CheckpointError: if it cannot be had, or is of another type or not complete.
    """
    model_type = read_config(source, example).get("model_type", "unknown")
    if model_type not in model_types:
        raise CheckpointError(
            f"{source} is of the type '{model_type}'; wanted is one of {', '.join(sorted(model_types))}.",
            f"Name a folder or hub id of one, for instance {example}.",
        )
    if Path(source).is_dir():
        check_files(Path(source), files)
    return str(model_type)


def load_processor(kind: Any, source: str) -> Any:
    """Load a processor; `kind` is its class or an Auto class.

    Raises:
        CheckpointError: if that is not possible.
    """
    try:
        with without_remarks():
            return kind.from_pretrained(source, **loading_options(source))
    except _DAMAGED as error:
        raise CheckpointError(
            f"The processor of {source} cannot be loaded: {_first_line(error)}.",
            "Copy all files of the model again.",
        ) from error


def load_weights(kind: Any, source: str, device: torch.device | None = None) -> Any:
    """Load a model in eval mode, in float32; `kind` is its class or an Auto class.

    Raises:
        CheckpointError: if that is not possible, or weights are missing.
    """
    try:
        with without_remarks():
            model, report = kind.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, **loading_options(source)
            )
    except _DAMAGED as error:
        raise CheckpointError(
            f"The weights of {source} cannot be loaded: {_first_line(error)}.", "Copy the model again."
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"The weights of {source} lack {len(missing)} tensors, first {missing[0]}.",
            "Copy the model again, complete.",
        )
    return model.to(device or torch.device("cpu")).eval()


def read_config(source: str, example: str) -> dict[str, Any]:
    """Read the config.json of a model.

    Args:
        source: hub id or folder.
        example: hub id of a model that would do, for the messages.
    Raises:
        CheckpointError: if it cannot be had or read.
    """
    folder = Path(source)
    if folder.is_dir():
        cure = "Name the folder that save_pretrained or `hf download` wrote."
        return read_keys(folder / "config.json", "a model", cure)
    if not is_hub_id(source):
        raise CheckpointError(
            f"There is no folder {source}.", f"Name a folder, or a hub id such as {example}."
        )
    check_hub(source)
    try:
        config, _ = PretrainedConfig.get_config_dict(source, **loading_options(source))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{source} is neither a folder here nor to be had from the hub ({_first_line(error)}).",
            "Check the name and the network, or copy the model to a folder and name that.",
        ) from error
    return dict(config)


def read_keys(file: Path, what: str, cure: str) -> dict[str, Any]:
    """Read a JSON file of keys.

    Args:
        what: whose folder it should lie in.
        cure: where it does not.
    Raises:
        CheckpointError: if it is missing, damaged, or holds something else.
    """
    if not file.exists():
        raise CheckpointError(f"{file.parent} is not the folder of {what}: it has no {file.name}.", cure)
    content = read_json(file, error=CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds no keys.", "Copy the folder again.")
    return content


def check_files(folder: Path, files: Mapping[str, Sequence[str]]) -> None:
    """Check that a folder holds weights, and of each kind of file one of its names.

    Raises:
        CheckpointError: if something lacks.
    """
    for what, names in files.items():
        if not any((folder / name).is_file() for name in names):
            raise CheckpointError(
                f"{folder} lacks its {what} ({' or '.join(names)}).",
                "Copy all files of the model, not only its weights.",
            )
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise CheckpointError(f"{folder} holds no weights.", "Copy all files of the model.")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".:")


def fingerprint_of(model: Any) -> str:
    """Return a sha256 over the name, type and bytes of every weight."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()

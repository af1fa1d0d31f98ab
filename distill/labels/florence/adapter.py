"""Put low-rank adapters on Florence-2; write, read and merge them into the weights.

The head of Florence-2 shares its weights with the embedding of its tokens. An adapter on the head, merged
in place, would change the embedding as well, and the merged model would say other things than the one that
was trained. So the head gets weights of its own before an adapter is put on it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from torch import nn

from distill.labels.annotators.model_source import read_keys
from distill.labels.annotators.remarks import without_remarks
from distill.labels.florence.settings import LoraSettings
from edge.core.errors import CheckpointError, ConfigError

BASE_NOTE = "loomsight_base.json"
"""File beside an adapter that says which model it is for."""

HEAD = "lm_head"

_DAMAGED = (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError)


def add_adapter(model: Any, lora: LoraSettings) -> PeftModel:
    """Put fresh adapters on a model; they change nothing until they are trained.

    Raises:
        ConfigError: if a target matches no layer.
    """
    check_targets(model, lora.targets)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        use_dora=lora.dora,
        bias="none",
    )
    _untie_head(model, lora.targets)
    with without_remarks():
        return get_peft_model(model, config)


def check_targets(model: nn.Module, targets: tuple[str, ...]) -> None:
    """Check that every target is the last part of the name of some layer.

    Raises:
        ConfigError: naming the targets that are not, and what there is.
    """
    layers = [name for name, module in model.named_modules() if _can_adapt(module)]
    unmatched = [
        target
        for target in targets
        if not any(name == target or name.endswith(f".{target}") for name in layers)
    ]
    if unmatched:
        known = sorted(
            {name.rpartition(".")[2] for name in layers if not name.endswith(tuple("0123456789"))}
        )
        raise ConfigError(
            f"lora.targets: {', '.join(unmatched)} matches no layer of this model.",
            f"Its layers are called: {', '.join(known)}.",
        )


def save_adapter(model: PeftModel, folder: Path, base_fingerprint: str, source: str) -> None:
    """Write an adapter and what it is for into a folder that exists."""
    model.save_pretrained(str(folder), save_embedding_layers=False)
    note = {"base": source, "base_fingerprint": base_fingerprint}
    (folder / BASE_NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def attach_adapter(model: Any, folder: Path, base_fingerprint: str, source: str) -> PeftModel:
    """Put a trained adapter on the model it was made for.

    Raises:
        CheckpointError: if it is missing, damaged or made for another model.
    """
    config = _read_json(folder / "adapter_config.json")
    _check_base(folder, base_fingerprint, source)
    targets = config.get("target_modules") or ()
    _untie_head(model, (targets,) if isinstance(targets, str) else tuple(targets))
    try:
        with without_remarks():
            return PeftModel.from_pretrained(model, str(folder))
    except _DAMAGED as error:
        raise CheckpointError(
            f"The adapter {folder} does not fit {source}: {str(error).splitlines()[0][:200]}.",
            "Name the model it was trained on.",
        ) from error


def merged(model: Any) -> Any:
    """Return the model with its adapters, if it has any, added into the weights."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def _check_base(folder: Path, base_fingerprint: str, source: str) -> None:
    """Compare fingerprints; an adapter made elsewhere has none, and its shapes have to do."""
    if not (folder / BASE_NOTE).is_file():
        return
    note = _read_json(folder / BASE_NOTE)
    if note.get("base_fingerprint") != base_fingerprint:
        raise CheckpointError(
            f"The adapter {folder} was trained on {note.get('base', 'another model')}, and {source} has "
            "other weights.",
            "Name the model it was trained on.",
        )


def _read_json(file: Path) -> dict[str, Any]:
    return read_keys(file, "an adapter", "Name the folder `adapter` that fine-tuning wrote.")


def _can_adapt(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding)


def _untie_head(model: Any, targets: tuple[str, ...]) -> None:
    """Give the head weights of its own, if it is to get an adapter and shares those of the embedding."""
    if not any(target == HEAD or target.endswith(f".{HEAD}") for target in targets):
        return
    head = getattr(model, HEAD)
    if head.weight is model.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False

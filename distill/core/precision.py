"""Choose the arithmetic and the device that a network is trained in on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from edge.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Precision:
    """Name an arithmetic and enter it.

    Attributes:
        name: float32, bf16 or amp (float16 with scaled gradients).
        device_type: cpu or cuda.
    """

    name: Literal["float32", "bf16", "amp"]
    device_type: str

    def autocast(self) -> AbstractContextManager[Any]:
        """Enter the arithmetic for a forward pass."""
        if self.name == "float32":
            return nullcontext()
        dtype = torch.bfloat16 if self.name == "bf16" else torch.float16
        return torch.autocast(self.device_type, dtype)

    def gradient_scaler(self) -> torch.amp.GradScaler:
        """Make the scaler of the gradients; it does nothing except under amp."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "amp")


def choose_precision(wanted: Literal["auto", "bf16", "float32", "amp"], device: torch.device) -> Precision:
    """Pick the arithmetic for a device.

    On a processor, bf16 is taken only where it has tiles for it (AMX): there it trained three times as
    fast as float32, and eight to ten times slower on one that has only AVX2 (both measured).

    Raises:
        ConfigError: if amp is asked for on a processor.
    """
    if wanted == "amp" and device.type != "cuda":
        raise ConfigError(
            "precision = 'amp' needs a CUDA device.", "Use precision auto, or train on a GPU."
        )
    if wanted != "auto":
        return Precision(wanted, device.type)
    if device.type == "cuda":
        return Precision("amp", device.type)
    return Precision("bf16" if processor_computes_bf16() else "float32", device.type)


def processor_computes_bf16() -> bool:
    """Tell whether this processor has tiles for bf16 (AMX).

    AVX-512 BF16 alone is no reason: there a training step took 1.2 times as long as in float32 (YOLOv5n,
    256 px, batch 16, measured).
    """
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Pick the device to train on.

    Raises:
        ConfigError: if cuda is asked for and not there.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("There is no CUDA device here.", "Use --device cpu, or check the driver.")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)

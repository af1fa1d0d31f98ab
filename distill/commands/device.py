"""Choose the device that a command computes on."""

from __future__ import annotations

from enum import Enum


class DeviceChoice(str, Enum):
    """Name a device to compute on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"

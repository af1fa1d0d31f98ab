"""Tell installations apart: two devices may have one name, for instance after a memory card was copied."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

MACHINE_ID: Final = Path("etc/machine-id")
SERIAL_NUMBER: Final = Path("proc/device-tree/serial-number")
NETWORK: Final = Path("sys/class/net")
DIGITS: Final = 16


def installation_id(root: Path = Path("/")) -> str | None:
    """Return what is the same as long as hardware and system are.

    The system's id is copied with a memory card; the serial number and the addresses of the network
    hardware are not. Only a digest leaves the device.

    Args:
        root: of the file system.
    Returns:
        16 hexadecimal digits; None where nothing tells.
    """
    parts = [_text(root / MACHINE_ID), _text(root / SERIAL_NUMBER), *_hardware_addresses(root / NETWORK)]
    if not any(parts):
        return None
    return sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


def _hardware_addresses(folder: Path) -> list[str]:
    """Return the addresses of real network cards; virtual ones change with each start."""
    with suppress(OSError):
        cards = sorted(card for card in folder.iterdir() if (card / "device").exists())
        return [_text(card / "address") for card in cards]
    return []


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_bytes().strip(b"\0\n ").decode("utf-8", "replace")
    return ""

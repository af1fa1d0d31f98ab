"""The kinds of cameras that an address names before its colon. None is imported before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from edge.cameras.protocol import Camera


class CameraModule(Protocol):
    """What the module of every kind has."""

    def camera_at(self, address: str, mm_per_px: float | None) -> Camera:
        """Build, without opening it, the camera of an address.

        Args:
            mm_per_px: scale on the cloth, for cameras that do not know it.
        Raises:
            ConfigError: if the settings in the address are wrong.
        """
        ...


@dataclass(frozen=True, slots=True)
class CameraKind:
    """Say how addresses of a kind look, and what reads them.

    Attributes:
        title: in messages.
        form: of its addresses, for help texts.
        module: that has it.
        package: of an extra, that its module imports; None if it needs none.
        is_device: whether an address, with the settings of `DeviceOptions`, names a device that one alone
            can read.
        needs_settings: whether there is a colon in every address.
    """

    title: str
    form: str
    module: str
    package: str | None = None
    is_device: bool = True
    needs_settings: bool = True

    def camera_at(self, address: str, mm_per_px: float | None) -> Camera:
        """Build the camera of an address; see `CameraModule`."""
        return cast(CameraModule, import_module(self.module)).camera_at(address, mm_per_px)


CAMERAS: Final[Mapping[str, CameraKind]] = {
    "basler": CameraKind(
        "Basler",
        "basler:[key=value,...]",
        "edge.cameras.basler",
        package="pypylon",
    ),
    "aravis": CameraKind("Aravis", "aravis:[...]", "edge.cameras.aravis"),
    "loom": CameraKind(
        "simulated loom",
        "loom[:key=value,...]",
        "edge.cameras.faulty_loom",
        is_device=False,
        needs_settings=False,
    ),
}
"""By what stands before the colon. What else an address may be, `edge.cameras.choose` says."""


def kind_of(address: str) -> CameraKind | None:
    """Return the kind of camera that an address names; None if it is a path, an index or a URL."""
    name, colon, _ = address.partition(":")
    kind = CAMERAS.get(name)
    return kind if kind is not None and (colon or not kind.needs_settings) else None


def forms() -> str:
    """Return how the addresses of all kinds look, for help texts."""
    *others, last = (kind.form for kind in CAMERAS.values())
    return f"{', '.join(others)}, or {last}"


def device_titles() -> str:
    """Return the kinds whose addresses name a device, for messages."""
    return " or ".join(kind.title for kind in CAMERAS.values() if kind.is_device)

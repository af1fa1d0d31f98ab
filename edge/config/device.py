"""Read the settings of a device: one camera, or several, each with a table `[cameras.NAME]`.

Order: default < file < the camera's table < environment < flag.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from edge.audit.files import log_beside
from edge.config.edge import EdgeConfig, config_of, layers_of
from edge.core.errors import ConfigError
from edge.core.files import is_stream
from edge.core.settings import toml_values

CAMERAS: Final = "cameras"
"""The key of the file that holds the tables."""

OF_THE_BOX: Final = (
    "health_port", "health_host", "page", "page_stays", "page_token_file", "page_hosts", "show",
    "buyers", "opcua", "page_users_file", "audit", "trust", "agent",
)  # fmt: skip
"""What there is once in a device, however many cameras it has."""

OWN: Final = tuple(key for key in EdgeConfig.model_fields if key not in OF_THE_BOX)
"""What a camera may have of its own."""

FILES: Final = ("detections", "summary", "roll_record")
FOLDERS: Final = ("save_pictures", "record")

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""It stands in names of files, in addresses of the page and in topics."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """Hold the settings of one camera.

    Attributes:
        name: of its table; None for the one camera of a device without tables.
        config: its own settings, and those that it shares with the others.
    """

    name: str | None
    config: EdgeConfig

    def called(self, camera: str) -> str:
        """Return what to call the camera, where its address alone would not tell it from the others."""
        return f"{self.name} ({camera})" if self.name else camera

    def with_values(self, **values: Any) -> CameraSettings:
        """Return the settings with other values, which are taken as they are."""
        return replace(self, config=self.config.changed(**values))


def load_box(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any], only: str | None = None
) -> list[CameraSettings]:
    """Resolve the settings of all cameras, or of one.

    A file or folder that is named outside of a camera's table is named for all: each camera gets one of its
    own from it, `out-NAME.jsonl`, `found/NAME`.

    Args:
        file: TOML file; None for none.
        environment: usually `os.environ`.
        flags: from the command line; None means not given.
        only: name of the camera that is meant; None for all.
    Raises:
        ConfigError: naming the source, the key and what is permitted, also for cameras that are not meant;
            or if `only` is none of them.
    """
    values = toml_values(file)
    if CAMERAS not in values:
        if only is not None:
            raise ConfigError(
                f"There is no camera '{only}': {file or 'no file'} has no tables [cameras.NAME].",
                "Leave --only out.",
            )
        return [CameraSettings(None, config_of(layers_of(file, values, environment, flags)))]
    tables = _checked_tables(file, values.pop(CAMERAS))
    layers = layers_of(file, values, environment, flags)
    cameras = [
        CameraSettings(name, _config(layers, name, f"{file}, camera '{name}'", own))
        for name, own in tables.items()
    ]
    _check_looms(cameras)
    if only is None:
        _check_flags(cameras, layers)
        return cameras
    return [_named(cameras, only, file)]


def load_camera(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any], only: str | None = None
) -> CameraSettings:
    """Resolve the settings of one camera, for a command that is about one.

    Raises:
        ConfigError: as `load_box`, or if there are several and none is named.
    """
    cameras = load_box(file, environment, flags, only)
    if len(cameras) > 1:
        names = ", ".join(str(camera.name) for camera in cameras)
        raise ConfigError(
            f"{file} has the cameras {names}; this is about one.", f"Add --only {cameras[0].name}."
        )
    return cameras[0]


def box_from_process(
    file: Path | None, flags: Mapping[str, Any], only: str | None = None
) -> list[CameraSettings]:
    """Resolve the settings of all cameras with the environment of this process."""
    return load_box(file, os.environ, flags, only)


def config_from_process(file: Path | None, flags: Mapping[str, Any], only: str | None = None) -> EdgeConfig:
    """Resolve the settings of one camera with the environment of this process."""
    return load_camera(file, os.environ, flags, only).config


def audit_file(cameras: Sequence[CameraSettings]) -> Path | None:
    """Return the audit log of a device: as set, else beside the first roll record; None without either."""
    config = cameras[0].config
    if config.audit.file is not None:
        return config.audit.file
    records = [one.config.roll_record for one in cameras if one.config.roll_record is not None]
    return log_beside(records[0]) if records else None


def place_of(path: Any, name: str, key: str) -> Any:
    """Return a camera's own file or folder beside those of the others; what is no path is left alone."""
    if not isinstance(path, str | Path) or not str(path) or is_stream(Path(path)):
        return path
    whole = Path(path)
    if key in FOLDERS:
        return whole / name
    return whole.with_name(f"{whole.stem}-{name}{whole.suffix}") if whole.name else path


def _config(
    layers: Mapping[str, Mapping[str, Any]], name: str, source: str, own: Mapping[str, Any]
) -> EdgeConfig:
    """Resolve one camera: its table comes behind the file, which is the first layer."""
    of_camera = {
        one: {key: _own_value(value, name, key) for key, value in values.items()}
        for one, values in layers.items()
    }
    first, *later = of_camera.items()
    config = config_of(dict([first, (source, dict(own)), *later]))
    topics = config.mqtt.model_copy(update={"camera": config.mqtt.camera or name})
    return config.changed(mqtt=topics)


def _own_value(value: Any, name: str, key: str) -> Any:
    if key == "auto_teach":
        return _own_articles(value, name)
    return place_of(value, name, key) if key in (*FILES, *FOLDERS) else value


def _own_articles(value: Any, name: str) -> Any:
    """Return the table `auto_teach`, or the word for it, with a folder of the camera's own."""
    if isinstance(value, str):
        return str(Path(value) / name) if value else value
    if isinstance(value, dict) and isinstance(value.get("folder"), str) and value["folder"]:
        return {**value, "folder": str(Path(value["folder"]) / name)}
    return value


def _checked_tables(file: Path | None, tables: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f"{file}: cameras = {tables!r} is not permitted.", "Write tables [cameras.NAME].")
    for name, own in tables.items():
        if not isinstance(own, dict):
            raise ConfigError(
                f"{file}: cameras.{name} = {own!r} is not permitted.", f"Write a table [cameras.{name}]."
            )
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"{file}: a camera cannot be called '{name}'.",
                "Permitted: up to 32 letters, digits, - and _, a letter or digit first.",
            )
        for key in own:
            if key not in OWN:
                raise ConfigError(
                    _refused(f"{file}, camera '{name}'", key), f"Permitted: {', '.join(OWN)}."
                )
    return tables


def _refused(source: str, key: str) -> str:
    if key in OF_THE_BOX:
        return f"{source}: '{key}' is for all cameras; it stands at the top of the file."
    return f"{source}: there is no setting '{key}'."


def _check_flags(cameras: Sequence[CameraSettings], layers: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse one address for several cameras; the file is the first layer, and may give a default."""
    for source, values in list(layers.items())[1:]:
        if "camera" in values and len(cameras) > 1:
            raise ConfigError(
                f"{source}: one camera is named for several.", "Name one of them with --only."
            )


def _check_looms(cameras: Sequence[CameraSettings]) -> None:
    """Refuse cameras beside each other of which nobody knows where they look."""
    for camera in cameras:
        loom = camera.config.loom
        beside = [other for other in cameras if loom is not None and other.config.loom == loom]
        if len(beside) > 1 and camera.config.offset_mm is None:
            raise ConfigError(
                f"Camera '{camera.name}' looks at loom '{loom}' beside others, and has no offset_mm.",
                "Say how far its left edge of view lies from the left selvedge, in millimetres.",
            )


def _named(cameras: Sequence[CameraSettings], only: str, file: Path | None) -> CameraSettings:
    for camera in cameras:
        if camera.name == only:
            return camera
    names = ", ".join(str(camera.name) for camera in cameras)
    raise ConfigError(f"There is no camera '{only}' in {file}.", f"It has: {names}.")

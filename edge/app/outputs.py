"""Decide where a run writes, before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import combinations
from pathlib import Path
from uuid import uuid4

from edge.cameras.folder import IMAGE_SUFFIXES
from edge.cameras.protocol import Camera
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError
from edge.core.files import check_not_a_folder, check_writable, is_stream
from edge.sinks.images import check_image_folder

CURE = "Give each a place of its own."


def settings_file(config: EdgeConfig) -> Path | None:
    """Return the file for the settings beside the detections; None where the detections are no file."""
    if config.detections is None or is_stream(config.detections):
        return None
    return Path(f"{config.detections}.config.json")


def check_outputs(config: EdgeConfig, camera: Camera, more: Mapping[str, Path] | None = None) -> None:
    """Refuse outputs that are in the way of each other, of the camera, of the model or of other files.

    Args:
        config: of the camera.
        camera: its files must not be written over.
        more: files that the device writes, by what the settings call them.
    Raises:
        ConfigError: if an output is, or holds, another one, the camera's files or the model.
        OutputError: if something else stands where an output belongs, or the summary cannot be written.
    """
    _check_roll(config)
    files, folders = files_of(config), folders_of(config)
    _check_apart(files | folders | dict(more or {}), config, camera)
    for path in files.values():
        check_not_a_folder(path)
    if config.save_pictures and config.roll_record is None:
        check_image_folder(config.save_pictures)
    if config.summary and not is_stream(config.summary):
        check_writable(config.summary.parent)


def images_folder(config: EdgeConfig) -> Path | None:
    """Return where the images of a run that begins now go; None if there are to be none.

    With a roll record each run has a folder of its own, which is never renamed: the record names its files.
    """
    if config.save_pictures is None or config.roll_record is None:
        return config.save_pictures
    return config.save_pictures / f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"


def _check_roll(config: EdgeConfig) -> None:
    is_used = config.article in config.articles or config.auto_teach.folder  # for how cloth is inspected
    if config.roll_record is None and (config.roll or (config.article and not is_used)):
        given = "--roll" if config.roll else "--article"
        raise ConfigError(f"{given} says something for a record, and there is none.", "Add --roll-record.")


def files_of(config: EdgeConfig) -> dict[str, Path]:
    """Return the files that a run writes, by the setting that names them."""
    files = {
        "--detections": config.detections,
        "the settings beside --detections": settings_file(config),
        "--summary": config.summary,
        "--roll-record": config.roll_record,
    }
    return {name: path for name, path in files.items() if path is not None}


def folders_of(config: EdgeConfig) -> dict[str, Path]:
    """Return the folders that a run writes into, by the setting that names them."""
    folders = {
        "--save-pictures": config.save_pictures,
        "--record": config.record,
        "--auto-teach": config.auto_teach.folder,
    }
    return {name: path for name, path in folders.items() if path is not None}


def lasting(outputs: dict[str, Path]) -> list[tuple[str, Path]]:
    """Leave out devices and pipes."""
    return [(name, path) for name, path in outputs.items() if not is_stream(path)]


def _check_apart(outputs: dict[str, Path], config: EdgeConfig, camera: Camera) -> None:
    for (name, path), (other_name, other) in combinations(lasting(outputs), 2):
        if lies_in(path, other) or lies_in(other, path):
            raise ConfigError(f"{name} {path} and {other_name} {other} are in each other's way.", CURE)
    check_inputs(outputs, config, camera)


def check_inputs(outputs: dict[str, Path], config: EdgeConfig, camera: Camera) -> None:
    """Refuse outputs that are in the way of a camera's files or its model."""
    inputs = {"--camera": _camera_path(config, camera), "--model": config.model}
    for input_name, source in inputs.items():
        for name, path in outputs.items():
            if source is not None and lies_in(source, path):
                raise ConfigError(f"{name} {path} is in the way of {input_name} {source}.", CURE)
    _check_no_new_image(outputs, inputs["--camera"])


def _check_no_new_image(outputs: dict[str, Path], camera_path: Path | None) -> None:
    """Refuse a file that the camera would take, or has taken, for one of its images."""
    if camera_path is None or not camera_path.is_dir():
        return
    for name, path in outputs.items():
        if path.suffix.lower() in IMAGE_SUFFIXES and lies_in(path.parent, camera_path):
            raise ConfigError(f"{name} {path} would be an image of --camera {camera_path}.", CURE)


def _camera_path(config: EdgeConfig, camera: Camera) -> Path | None:
    path = Path(config.camera)
    return path if path.exists() and not camera.is_simulated else None


def lies_in(inner: Path, outer: Path) -> bool:
    """Tell whether one path is another, or lies below it; symbolic links are followed."""
    return Path(os.path.realpath(inner)).is_relative_to(os.path.realpath(outer))

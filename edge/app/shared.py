"""Share a device between its cameras: cores, rolls of one cloth, and no output in another's way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations, product
from pathlib import Path

import cv2

from edge.app.assembly import OpenRun
from edge.app.outputs import CURE, check_inputs, files_of, folders_of, lasting, lies_in
from edge.backends.probe import available_cores
from edge.cameras.device_options import parse_device
from edge.cameras.protocol import Camera
from edge.cameras.registry import device_titles, kind_of
from edge.config.device import CameraSettings
from edge.core.errors import ConfigError
from edge.core.events import utc_now

Device = tuple[str, str | None]
"""What kind of device, and which one; None for the first that is found."""


def with_threads(cameras: Sequence[CameraSettings]) -> list[CameraSettings]:
    """Share the cores among several cameras, but for those whose settings say how many they get."""
    if len(cameras) == 1:
        return list(cameras)
    fraction = max(1, available_cores() // len(cameras))
    return [camera if camera.config.threads else camera.with_values(threads=fraction) for camera in cameras]


def with_common_rolls(cameras: Sequence[CameraSettings]) -> list[CameraSettings]:
    """Let the cameras of one loom begin rolls of one name, where none is given."""
    name = f"roll of {utc_now()[:19]}Z"
    return [
        camera.with_values(roll=name)
        if camera.config.loom and camera.config.roll_record and camera.config.roll is None
        else camera
        for camera in cameras
    ]


def share_rolls(runs: Sequence[OpenRun]) -> None:
    """Let rolls that somebody ends end for all cameras of a loom."""
    for run in runs:
        loom = run.config.loom
        run.changes.share_with(
            [other.changes for other in runs if loom and other.config.loom == loom and other is not run]
        )


@contextmanager
def processor_shared(cameras: int) -> Iterator[None]:
    """Let OpenCV, too, use no more threads than there are cores for each camera."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(max(1, available_cores() // max(1, cameras)))
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def check_apart(cameras: Sequence[tuple[CameraSettings, Camera]]) -> None:
    """Refuse two cameras on one device, or that write to one place.

    Raises:
        ConfigError: if two read one device, or an output of one is, or holds, an output of another one, its
            files or its model.
    """
    for (one, _), (other, camera) in permutations(cameras, 2):
        _check_devices(one, other)
        outputs = files_of(one.config) | folders_of(one.config)
        _check_outputs(one, outputs, other)
        try:
            check_inputs(outputs, other.config, camera)
        except ConfigError as error:
            raise error.of_camera(f"{one.name}' beside '{other.name}") from error


def _check_devices(one: CameraSettings, other: CameraSettings) -> None:
    device, other_device = _device(one.config.camera), _device(other.config.camera)
    if device is None or other_device is None or device[0] != other_device[0]:
        return
    if device[1] == other_device[1] or None in (device[1], other_device[1]):
        raise ConfigError(
            f"The cameras '{one.name}' and '{other.name}' are, or may be, one device.",
            f"Name another one; of several {device_titles()} cameras each by its serial.",
        )


def _check_outputs(one: CameraSettings, outputs: dict[str, Path], other: CameraSettings) -> None:
    theirs = files_of(other.config) | folders_of(other.config)
    for (name, path), (other_name, place) in product(lasting(outputs), lasting(theirs)):
        if lies_in(path, place):
            raise ConfigError(
                f"{name} {path} of camera '{one.name}' and {other_name} {place} of camera '{other.name}' "
                "are in each other's way.",
                CURE,
            )


def _device(source: str) -> Device | None:
    """Return the device behind a source; None where many may read: a file, a folder, the simulated loom."""
    kind = source.partition(":")[0]
    if named := kind_of(source):
        return (kind, parse_device(source).serial) if named.is_device else None
    if Path(source).is_dir() or Path(source).is_file():
        return None
    path = f"/dev/video{source}" if source.isdigit() else source
    return "video", path if "://" in path else os.path.realpath(path)

"""Open the camera that an address names; a live one is opened again when it fails."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

from edge.cameras.folder import IMAGE_SUFFIXES, FolderCamera
from edge.cameras.http_stream import HttpCamera
from edge.cameras.opencv import OpenCvCamera
from edge.cameras.protocol import Camera
from edge.cameras.raw_stream import RecordedCamera, is_recording
from edge.cameras.recovering import Patience, RecoveringCamera
from edge.cameras.registry import kind_of
from edge.config.edge import EdgeConfig
from edge.core.address import redact_credentials
from edge.core.errors import CameraNotFoundError

INDEX: Final = re.compile(r"[0-9]{1,4}")
"""Number of a camera of the system; a longer one is a name like any other."""


def choose_camera(source: str, mm_per_px: float | None = None, bit_depth: int | None = None) -> Camera:
    """Build, without opening it, the camera that a source names.

    Args:
        source: `0` (index), `/dev/video0`, `rtsp://...`, a video file, an image, a folder of images, one
            that `--record` wrote, or what a name of `CAMERAS` stands before, such as `basler:` or `loom`.
        mm_per_px: scale on the cloth for cameras that do not know it.
        bit_depth: significant bits of 16-bit values.
    Raises:
        CameraNotFoundError: if the source names nothing that exists.
        ConfigError: if the options of a loom or a device are wrong.
    """
    if kind := kind_of(source):
        return kind.camera_at(source, mm_per_px)
    if INDEX.fullmatch(source):
        return OpenCvCamera(int(source), mm_per_px, bit_depth)
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source):
        of_stream = HttpCamera if scheme[1].lower() in ("http", "https") else OpenCvCamera
        return of_stream(source, mm_per_px, bit_depth)
    path = Path(source)
    try:
        if is_recording(path):
            return RecordedCamera(path)
        if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
            return FolderCamera(path, mm_per_px, bit_depth)
        there = path.exists()
    except OSError as error:
        raise CameraNotFoundError(
            f"Cannot look at '{redact_credentials(source)}': {error.strerror or error}.",
            "Check the path and the permissions of the folders above it.",
        ) from error
    if not there:
        raise CameraNotFoundError(
            f"There is no camera, file or folder '{redact_credentials(source)}'.",
            "Name an index (0), a device, a video, a folder, an rtsp:// address, or loom.",
        )
    return OpenCvCamera(source, mm_per_px, bit_depth)


def watched_camera(camera: Camera, config: EdgeConfig) -> Camera:
    """Return a camera as a run reads it: a live one recovers, unless the settings forbid it.

    Files and folders are returned as they are, and so is a simulated loom that is not asked to fail.
    """
    if not camera.is_live or not config.reconnect or camera.reopening == "never":
        return camera
    patience = Patience(
        silent_s=config.silent_s,
        frozen_s=config.frozen_s,
        is_paced=camera.is_paced,
        waits_at_start=config.wait_for_camera,
        starts_again_at_zero=camera.starts_again_at_zero,
        accepts_any_size=config.frame_size == "any",
        is_prompt=camera.is_prompt,
    )
    if camera.reopening == "same":
        return RecoveringCamera(camera.name, lambda: camera, patience)
    again = partial(choose_camera, config.camera, config.mm_per_px, config.bit_depth)
    return RecoveringCamera(camera.name, again, patience)

"""Wrap the cameras that are opened again when they fail, each with its expectations."""

from __future__ import annotations

from functools import partial

from edge.cameras.choose import choose_camera
from edge.cameras.protocol import Camera
from edge.cameras.recovering import Patience, RecoveringCamera
from edge.config.edge import EdgeConfig


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

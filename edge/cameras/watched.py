"""Which cameras are opened again when they fail, and what is expected of each."""

from __future__ import annotations

from functools import partial

from edge.cameras.choose import choose_camera
from edge.cameras.faulty_loom import FaultyLoomCamera
from edge.cameras.isolated import IsolatedCamera
from edge.cameras.loom import LoomCamera
from edge.cameras.protocol import Camera
from edge.cameras.recovering import Patience, RecoveringCamera
from edge.config.edge import EdgeConfig


def watched_camera(camera: Camera, config: EdgeConfig) -> Camera:
    """Return a camera as a run reads it: a live one recovers, unless the settings forbid it.

    Files and folders are returned as they are, and so is a simulated loom that is not asked to fail.
    """
    is_sound_loom = isinstance(camera, LoomCamera) and not isinstance(camera, FaultyLoomCamera)
    if not camera.is_live or not config.reconnect or is_sound_loom:
        return camera
    patience = Patience(
        silent_s=config.silent_s,
        frozen_s=config.frozen_s,
        is_paced=isinstance(camera, IsolatedCamera | FaultyLoomCamera) and camera.is_paced,
        waits_at_start=config.wait_for_camera,
        begins_anew=isinstance(camera, IsolatedCamera),
        accepts_any_size=config.frame_size == "any",
    )
    if isinstance(camera, FaultyLoomCamera):  # the roll goes on, whatever happens to its camera
        return RecoveringCamera(camera.name, lambda: camera, patience)
    again = partial(choose_camera, config.camera, config.mm_per_px, config.bit_depth)
    return RecoveringCamera(camera.name, again, patience)

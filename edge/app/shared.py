"""Share processor cores and, where cameras see one cloth, its rolls between the cameras of a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2

from edge.app.assembly import OpenRun
from edge.backends.probe import available_cores
from edge.config.device import CameraSettings
from edge.core.events import utc_now


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

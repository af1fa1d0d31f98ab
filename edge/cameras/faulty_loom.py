"""Simulate a loom whose camera fails at set times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from typing_extensions import Self

from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.cameras.protocol import Frame, NoFrameYetError, Reopening
from edge.core.errors import CameraLostError, CameraNotFoundError
from edge.core.image import Image
from edge.simulator.fault_plan import Fault, FaultName, parse_faults

WAIT_S = 0.1


class FaultyLoomCamera(LoomCamera):
    """Image a roll that goes on while the camera fails: frames of that time are lost.

    It does not sleep until a frame is due but says, now and then, that there is none yet.
    """

    reopening: Reopening = "same"  # the roll goes on, whatever happens to its camera
    _shot: Image | None = None

    def __enter__(self) -> Self:
        if self._loom is None:
            super().__enter__()
        if self._started_s is not None:
            self._skip_to_now()
        if self._fault("unplugged"):
            self._started_s = self._clock() if self._started_s is None else self._started_s
            raise CameraNotFoundError(f"The camera {self.name} is unplugged.", "Wait.")
        return self

    def __exit__(self, *_: object) -> None:
        """Keep the roll: it goes on."""

    def read(self) -> Frame | None:
        """Return the next frame, or what is left of it; see `Camera.read`.

        Raises:
            CameraLostError: while the camera is unplugged.
            NoFrameYetError: until the next frame is due, and while the camera is silent.
        """
        self._wait_until_due()
        if self._fault("unplugged"):
            raise CameraLostError(f"The camera {self.name} is unplugged.", "Wait.")
        if self._fault("silent"):
            self._frame_id += 1
            raise NoFrameYetError
        spoil = next((way for name, way in SPOILT.items() if self._fault(name)), None)
        frame = super().read()
        if frame is None:
            return None
        if self._fault("frozen", frame.frame_id) and self._shot is not None:
            return replace(frame, image=self._shot.copy())
        self._shot = frame.image
        return replace(frame, image=spoil(frame.image)) if spoil else frame

    def lines_of(self, frame_id: int) -> tuple[int, int]:
        """Return the first line of a frame and how many it has, also where the cloth runs back."""
        return super().lines_of(self._place_of(frame_id))

    def _place_of(self, frame_id: int) -> int:
        """Return which block of the roll a frame shows."""
        place = frame_id
        for fault in self._faults_of("reverse"):
            back = frame_id - fault.first
            if 0 <= back < fault.frames:
                place -= 2 * back + 2
            elif back >= fault.frames:
                place -= 2 * fault.frames
        return max(0, place)

    def _fault(self, name: FaultName, frame_id: int | None = None) -> bool:
        at = self._frame_id if frame_id is None else frame_id
        return any(fault.first <= at < fault.first + fault.frames for fault in self._faults_of(name))

    def _faults_of(self, name: FaultName) -> list[Fault]:
        return [fault for fault in parse_faults(self.options.faults) if fault.name == name]

    def _wait_until_due(self) -> None:
        if self._started_s is None:
            self._started_s = self._clock()
        wait_s = self._due_s(self._frame_id) - self._clock()
        if wait_s > WAIT_S:
            self._sleep(WAIT_S)
            raise NoFrameYetError
        if wait_s > 0:
            self._sleep(wait_s)

    def _due_s(self, frame_id: int) -> float:
        """Return when a frame is complete: stops before it put it off."""
        first, count = super().lines_of(frame_id)
        stood = sum(fault.frames for fault in self._faults_of("stop") if fault.first <= frame_id)
        return (self._started_s or 0.0) + (first + count + stood * self._lines_per_frame) / self.lines_hz

    @property
    def _lines_per_frame(self) -> float:
        return float(super().lines_of(1)[0] - super().lines_of(0)[0])

    def _keep_pace(self, last_line: int) -> None:
        """Do nothing: it was waited for."""

    def _skip_to_now(self) -> None:
        """Leave out the frames that passed while the camera was closed."""
        while self.lines_of(self._frame_id)[1] and self._due_s(self._frame_id) < self._clock():
            self._frame_id += 1


def _half_as_wide(image: Image) -> Image:
    half: Image = np.ascontiguousarray(image[:, : image.shape[1] // 2])
    return half


def _half_empty(image: Image) -> Image:
    spoilt: Image = image.copy()
    spoilt[len(image) // 2 :] = 0
    return spoilt


def _black(image: Image) -> Image:
    return np.zeros(image.shape, np.uint8)


def _dimmed(image: Image, fraction: float) -> Image:
    return np.asarray(cv2.convertScaleAbs(image, alpha=fraction, beta=1), np.uint8)


def _blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.5), np.uint8)


def _with_lint(image: Image) -> Image:
    spoilt: Image = image.copy()
    left = image.shape[1] // 3
    spoilt[:, left : left + 12] = _dimmed(spoilt[:, left : left + 12].copy(), 0.7)
    return spoilt


SPOILT: dict[FaultName, Callable[[Image], Image]] = {
    "wrong size": _half_as_wide,
    "half empty": _half_empty,
    "black": _black,
    "lamp out": partial(_dimmed, fraction=0.05),
    "dim": partial(_dimmed, fraction=0.6),
    "blurred": _blurred,
    "lint": _with_lint,
}
"""What becomes of an image."""


def camera_at(address: str, mm_per_px: float | None = None) -> LoomCamera:
    """Build the camera above a simulated loom: one that fails where the address names faults.

    Raises:
        ConfigError: if its settings are wrong.
    """
    options = parse_loom_options(address)
    return FaultyLoomCamera(options) if options.faults else LoomCamera(options)

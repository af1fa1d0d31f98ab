"""Run an isolated camera in its own process: read it, put frames into shared memory, report them."""

from __future__ import annotations

import importlib
import json
import mmap
import os
import queue
import socket
import time
from dataclasses import astuple
from typing import Any

import numpy as np

from edge.cameras.protocol import Camera, Frame, NoFrameYetError
from edge.core.errors import ImageError, LoomsightError
from edge.process.interruption import leave_to_parent
from edge.process.supervised import HelperThread

SIGN_S = 0.4
"""A sign of life is sent at most so often."""


def main(channel: str, memory: str, order: str) -> None:
    """Serve a camera until the other process closes the socket.

    Args:
        channel: descriptor of the socket.
        memory: descriptor of the memory for frames.
        order: JSON with `factory`, `arguments`, `slots`, `slot_bytes`.
    """
    leave_to_parent()
    ordered = json.loads(order)
    server = CameraServer(
        socket.socket(fileno=int(channel)), int(memory), ordered["slots"], ordered["slot_bytes"]
    )
    try:
        module, _, function = ordered["factory"].partition(":")
        camera = getattr(importlib.import_module(module), function)(**ordered["arguments"])
        with camera:
            server.send({"open": True})
            server.serve(camera)
    except LoomsightError as error:
        server.send_error(error)
    os._exit(0)  # a library's own threads and destructors have hung here before


class CameraServer:
    """Put the frames of a camera where another process sees them.

    Args:
        channel: to that process.
        memory: descriptor of the memory for frames.
        slots, slot_bytes: how it is divided.
    """

    def __init__(self, channel: socket.socket, memory: int, slots: int, slot_bytes: int) -> None:
        self._channel = channel
        self._memory = mmap.mmap(memory, slots * slot_bytes)
        self._slot_bytes = slot_bytes
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(slots):
            self._free.put(slot)
        self._sign_s = 0.0
        HelperThread("slots", self._take_back).start()

    def serve(self, camera: Camera) -> None:
        """Send frames until the stream ends.

        Raises:
            LoomsightError: what the camera raises, but for images that are none.
        """
        while True:
            try:
                frame = camera.read()
            except NoFrameYetError:
                self._send_sign(camera)
            except ImageError as error:
                self.send_error(error)
            else:
                if frame is None:
                    self.send({"end": True})
                    return
                self._send_frame(camera, frame)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; without a listener the process ends."""
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(0)

    def send_error(self, error: LoomsightError) -> None:
        """Tell of an error."""
        self.send({"error": [type(error).__name__, error.problem, error.cure]})

    def _send_sign(self, camera: Camera) -> None:
        now_s = time.monotonic()
        if now_s - self._sign_s >= SIGN_S:
            self._sign_s = now_s
            self.send({"counters": counters_of(camera)})

    def _send_frame(self, camera: Camera, frame: Frame) -> None:
        """Copy a frame into a free slot, once there is one, and tell of it."""
        if frame.image.nbytes > self._slot_bytes:
            self.send_error(
                ImageError(
                    f"A frame has {frame.image.nbytes} bytes, more than {self._slot_bytes}.",
                    "Take fewer lines per frame.",
                )
            )
            return
        slot = self._free_slot(camera)
        flat = np.frombuffer(self._memory, np.uint8, frame.image.size, slot * self._slot_bytes)
        np.copyto(flat.reshape(frame.image.shape), frame.image)
        position = astuple(frame.position) if frame.position else None
        self.send(
            {
                "slot": slot,
                "shape": frame.image.shape,
                "frame_id": frame.frame_id,
                "monotonic_s": frame.monotonic_s,
                "position": position,
                "mm_per_px": frame.mm_per_px,
                "follows_on": frame.follows_on,
                "counter": frame.counter,
                "counters": counters_of(camera),
            }
        )

    def _free_slot(self, camera: Camera) -> int:
        while True:
            try:
                return self._free.get(timeout=SIGN_S)
            except queue.Empty:
                self._send_sign(camera)

    def _take_back(self) -> None:
        """Take back slots; the end of the socket is the end of the process, whatever hangs in it."""
        while True:
            try:
                data = self._channel.recv(256)
            except OSError:
                data = b""
            if not data:
                time.sleep(CLOSE_S)
                os._exit(0)
            for slot in data:
                self._free.put(slot)


CLOSE_S = 0.5
"""After the socket closed, a camera that is in no hanging call has so long to be closed."""


def counters_of(camera: Camera) -> dict[str, int]:
    """Return what a camera counts; nothing for one that does not."""
    return dict(getattr(camera, "counters", None) or {})

"""Read a camera through Aravis in the system's Python, and put frames into shared memory.

It is started by `edge.cameras.isolated` with a socket, memory and an order, imports nothing but the
standard library and PyGObject, and tells the camera's own numbers; the other side places the frames.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections import deque
from typing import Any

WAIT_US = 200_000
SIGN_S = 0.4
BUFFERS = 16
GREY, BGR = ("Mono8",), ("BGR8", "BGR8Packed")
INSTALL = "apt-get install python3-gi gir1.2-aravis-0.8"


class Refusal(Exception):  # noqa: N818 - it is handed on as one of loomsight's errors, under that name
    """Something that ends the program: class of the error, what happened, what to do."""


class Talk:
    """Speak with the process that started this one."""

    def __init__(self, channel: int, memory: int, slots: int, slot_bytes: int) -> None:
        self._channel = socket.socket(fileno=channel)
        self._memory = mmap.mmap(memory, slots * slot_bytes)
        self._slot_bytes = slot_bytes
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(slots):
            self._free.put(slot)
        self._sign_s = 0.0
        threading.Thread(target=self._take_back, daemon=True).start()

    def send(self, **message: Any) -> None:
        """Send a message; without a listener the program ends."""
        self._sign_s = time.monotonic()
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(0)

    def sign(self) -> None:
        """Send a sign of life, now and then."""
        if time.monotonic() - self._sign_s >= SIGN_S:
            self.send()

    def put(self, data: bytes, shape: list[int], **facts: Any) -> None:
        """Copy a frame into a free slot and tell of it."""
        if len(data) > self._slot_bytes:
            problem = f"A frame has {len(data)} bytes, more than {self._slot_bytes}."
            raise Refusal("ConfigError", problem, "Take a smaller height.")
        slot = None
        while slot is None:
            try:
                slot = self._free.get(timeout=SIGN_S)
            except queue.Empty:
                self.sign()
        start = slot * self._slot_bytes
        self._memory[start : start + len(data)] = data
        self.send(slot=slot, shape=shape, **facts)

    def _take_back(self) -> None:
        while True:
            try:
                data = self._channel.recv(256)
            except OSError:
                data = b""
            if not data:
                os._exit(0)
            for slot in data:
                self._free.put(slot)


def aravis() -> Any:
    """Return the library and GLib's errors."""
    try:
        importlib.import_module("gi").require_version("Aravis", "0.8")
        return tuple(importlib.import_module(f"gi.repository.{name}") for name in ("Aravis", "GLib"))
    except (ImportError, ValueError) as error:
        raise Refusal("MissingPackageError", f"Aravis is not installed: {error}.", INSTALL) from error


def opened(library: Any, glib: Any, order: dict[str, Any]) -> Any:
    """Open the camera and write the settings into it."""
    try:
        camera = library.Camera.new(order.get("serial"))
    except glib.Error as error:
        problem = f"Cannot open the camera {order['name']}: {error.message}."
        raise Refusal("CameraNotFoundError", problem, "Check cable, power and IP address.") from error
    try:
        if "width" in order or "height" in order:
            x, y, width, height = camera.get_region()
            camera.set_region(x, y, order.get("width", width), order.get("height", height))
        if "frame_rate_hz" in order:
            camera.set_frame_rate(order["frame_rate_hz"])
        if "exposure_us" in order:
            camera.set_exposure_time(order["exposure_us"])
        if "line_rate_hz" in order:
            camera.set_float("AcquisitionLineRate", order["line_rate_hz"])
        if "trigger" in order:
            camera.set_trigger(order["trigger"])
        set_up_encoder(camera, order)
    except glib.Error as error:
        problem = f"{order['name']}: the camera does not take a setting: {error.message}."
        raise Refusal("ConfigError", problem, "See its data sheet, or leave it out.") from error
    check_settings(camera, order)
    return camera


def set_up_encoder(camera: Any, order: dict[str, Any]) -> None:
    """Write what `edge.cameras.encoder` says, in the first way that the camera has."""
    dialects = order["encoder_dialects"]
    spoken = next((each for each in dialects if camera.is_feature_available(each[0][0])), None)
    if dialects and spoken is None:
        problem = f"{order['name']}: the camera has no setting for encoder."
        raise Refusal("ConfigError", problem, "Leave it out.")
    for node, value in spoken or ():
        if value is None:
            camera.execute_command(node)
        elif value == "greatest":
            camera.set_integer(node, camera.get_integer_bounds(node)[1])
        elif isinstance(value, int):
            camera.set_integer(node, value)
        else:
            camera.set_string(node, value)


def check_settings(camera: Any, order: dict[str, Any]) -> None:
    """Refuse a size that the camera rounded, and pixels that are not bytes."""
    _, _, width, height = camera.get_region()
    for key, value in (("width", width), ("height", height)):
        if order.get(key, value) != value:
            raise Refusal("ConfigError", f"{order['name']}: {key} became {value}.", "Give one it can have.")
    pixels = camera.get_pixel_format_as_string()
    if pixels not in GREY + BGR:
        problem = f"{order['name']}: pixels of the format {pixels} are not read."
        raise Refusal("ConfigError", problem, f"Set the camera to one of {', '.join(GREY + BGR)}.")


def serve(camera: Any, talk: Talk, library: Any, name: str) -> None:
    """Send frames for as long as the camera answers."""
    channels = [3] if camera.get_pixel_format_as_string() in BGR else []
    lost = threading.Event()
    camera.get_device().connect("control-lost", lambda *_: lost.set())
    stream = camera.create_stream(None, None)
    payload, most_lines = camera.get_payload(), camera.get_region()[3]
    for _ in range(BUFFERS):
        stream.push_buffer(library.Buffer.new_allocate(payload))
    numbers: deque[int] = deque(maxlen=4 * BUFFERS)
    camera.start_acquisition()
    talk.send(open=True)
    while not lost.is_set():
        buffer = stream.timeout_pop_buffer(WAIT_US)
        if buffer is None:
            talk.sign()
            continue
        number = buffer.get_frame_id()
        # A buffer whose first packet was lost still has the number of the frame that it held before.
        facts = {"number": None if number in numbers else number, "monotonic_s": time.monotonic()}
        numbers.append(number)
        if buffer.get_status() == library.BufferStatus.SUCCESS:
            height, width = buffer.get_image_height(), buffer.get_image_width()
            talk.put(buffer.get_data(), [height, width, *channels], lines=height, **facts)
        else:
            talk.send(incomplete=buffer.get_status().value_nick, lines=most_lines, **facts)
        stream.push_buffer(buffer)
    raise gone(name, "it does not answer any more")


def gone(name: str, why: str) -> Refusal:
    """Say that a camera that was there is not any more."""
    return Refusal("CameraLostError", f"The camera {name} is lost: {why}.", "Check cable and power.")


def main(channel: str, memory: str, order: str) -> None:
    """Serve a camera until the other process closes the socket; see `edge.cameras.child.main`."""
    for number in (
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
    ):  # as edge.process.interruption.leave_to_parent
        signal.signal(number, signal.SIG_IGN)
    ordered = json.loads(order)
    talk = Talk(int(channel), int(memory), ordered["slots"], ordered["slot_bytes"])
    try:
        library, glib = aravis()
        name = ordered["arguments"]["name"]
        try:
            serve(opened(library, glib, ordered["arguments"]), talk, library, name)
        except glib.Error as error:  # unplugged in the middle of any call
            raise gone(name, error.message) from error
    except Refusal as refusal:
        talk.send(error=refusal.args)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:4])

"""Run a camera in a process of its own: a library that hangs or crashes there can be killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import Self

from edge.cameras.device_options import Placing
from edge.cameras.protocol import Camera, CameraHungError, Frame, FramePosition, NoFrameYetError
from edge.cameras.shared_frames import SLOT_BYTES, SLOTS, SharedFrames
from edge.core import errors
from edge.core.errors import CameraLostError, CameraNotFoundError, LoomsightError

logger = logging.getLogger(__name__)

WAIT_S = 0.2
ANSWER_S = 5.0
"""A camera process that gives no sign for so long hangs: it says something at least twice a second."""

OPEN_S = 45.0
"""Longest time from the start of the process to an open camera: loading a library, finding the device."""

END_S = 1.0
"""Time for a process to close its camera before it is killed."""

START = "import sys; sys.path[:] = sys.argv[4:]; from edge.cameras.child import main; main(*sys.argv[1:4])"
"""What a Python process runs. It gets the module search path of this one."""


@dataclass(frozen=True, slots=True)
class CameraProcess:
    """Say how to start the process of a camera.

    Attributes:
        name: what to call the camera.
        factory: `module:function` that builds it; ignored with a program of its own.
        arguments: for that function, or for the program: plain values.
        is_paced: True if it gives no frame while the cloth stands.
        program: command in place of this interpreter; it gets the same three arguments.
        placing: makes what numbers and places frames, for a program that only tells the camera's numbers.
        follows_on: True if the frames of such a program are blocks of a line camera.
        mm_per_px: of cloth per column, for such a program.
    """

    name: str
    factory: str
    arguments: dict[str, Any] = field(default_factory=dict)
    is_paced: bool = False
    program: tuple[str, ...] = ()
    placing: Callable[[], Placing] | None = None
    follows_on: bool = False
    mm_per_px: float | None = None


class IsolatedCamera(Camera):
    """Deliver the frames of a camera that lives in another process. Satisfies `Camera`.

    The process gets a socket and memory for frames. It sends a line of JSON for each frame, error and sign
    of life; it gets a byte for each slot of the memory that is free again, and ends when the socket closes.

    Args:
        process: how to start it.
        answer_s: without a sign for so long it is killed.
        open_s: as long may pass until the camera is open.
    """

    is_live = True
    starts_again_at_zero = True
    is_prompt = True

    def __init__(self, process: CameraProcess, answer_s: float = ANSWER_S, open_s: float = OPEN_S) -> None:
        self.name = process.name
        self.is_paced = process.is_paced
        self._how = process
        self._answer_s = answer_s
        self._open_s = open_s
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._frames: SharedFrames | None = None
        self._received = b""
        self._sign_s = 0.0
        self._counters: dict[str, int] = {}
        self._placing = process.placing() if process.placing else None

    @property
    def counters(self) -> Mapping[str, int]:
        """What the camera counted, as it last said."""
        return self._counters | (self._placing.counters if self._placing else {})

    def __enter__(self) -> Self:
        self.start()
        try:
            while not self.wait_open():
                pass
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start(self) -> None:
        """Start the process, which opens the camera; see `wait_open`.

        Raises:
            CameraNotFoundError: if it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._socket = ours
            ours.settimeout(WAIT_S)
            self._frames = SharedFrames(self._give_back)
            try:
                self._child = self._started(theirs.fileno(), self._frames.descriptor)
            except OSError as error:
                self.__exit__(None, None, None)
                raise CameraNotFoundError(
                    f"Cannot start the process of the camera {self.name}: {error}.",
                    "Check the installation.",
                ) from error
        self._sign_s = time.monotonic()

    def wait_open(self) -> bool:
        """Wait a moment until the camera is open; False if it is not yet.

        Raises:
            CameraHungError: if its process has given no sign for too long.
            LoomsightError: what the camera raised instead.
        """
        try:
            message = self._next_message(self._open_s, "does not open")
        except NoFrameYetError:
            return False
        if "error" in message:
            raise _error_of(message["error"])
        return bool(message.get("open"))

    def __exit__(self, *error: object) -> None:
        channel, self._socket = self._socket, None
        if channel is not None:
            channel.close()
        child, self._child = self._child, None
        if child is not None:
            _end(child)
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()

    def read(self) -> Frame | None:
        """Return the next frame; see `Camera.read`.

        Raises:
            CameraHungError: if the process gives no sign; it is killed when the camera is left.
            CameraLostError: if the process ended.
        """
        message = self._next_message(self._answer_s, "does not come back from a call into its library")
        if "counters" in message:
            self._counters = message["counters"]
        if "error" in message:
            raise _error_of(message["error"])
        if message.get("end"):
            return None
        if "number" in message and self._placing is not None:
            message |= self._placed(message, self._placing)
        if "slot" not in message:
            raise NoFrameYetError
        return self._frame_of(message)

    def _placed(self, message: Mapping[str, Any], placing: Placing) -> dict[str, Any]:
        """Number and place a frame; an incomplete one is raised."""
        number, lines, now_s = message["number"], message["lines"], message["monotonic_s"]
        frame_id, place = placing.place(number, lines, now_s)
        if "slot" not in message:
            raise placing.incomplete(self.name, place, message["incomplete"])
        return {
            "frame_id": frame_id,
            "position": astuple(place) if place else None,
            "counter": number,
            "follows_on": self._how.follows_on,
            "mm_per_px": self._how.mm_per_px,
        }

    def _frame_of(self, message: Mapping[str, Any]) -> Frame:
        if self._frames is None:
            raise CameraLostError(f"The camera {self.name} is closed.", "Open it again.")
        image = self._frames.image(message["slot"], message["shape"])
        place = message.get("position")
        return Frame(
            message["frame_id"],
            image,
            message["monotonic_s"],
            self.name,
            FramePosition(*place) if place else None,
            message.get("mm_per_px"),
            bool(message.get("follows_on")),
            counter=message.get("counter"),
        )

    def _next_message(self, most_s: float, otherwise: str) -> dict[str, Any]:
        """Return the next message.

        Raises:
            NoFrameYetError: if there is none within a moment.
            CameraHungError: if there has been none for too long.
            CameraLostError: if the process ended.
        """
        while b"\n" not in self._received:
            channel = self._socket
            if channel is None:
                raise CameraLostError(f"The camera {self.name} is closed.", "Open it again.")
            try:
                data = channel.recv(65536)
            except TimeoutError as error:
                self._check_sign(most_s, otherwise)
                raise NoFrameYetError from error
            except OSError:
                data = b""
            if not data:
                raise self._ended()
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        self._sign_s = time.monotonic()
        message: dict[str, Any] = json.loads(line)
        return message

    def _check_sign(self, most_s: float, otherwise: str) -> None:
        if time.monotonic() - self._sign_s >= most_s:
            raise CameraHungError(
                f"The camera {self.name} {otherwise}: no sign for {most_s:g} s, its process is killed.",
                "Check its cable and power.",
            )

    def _ended(self) -> CameraLostError:
        code = None
        if self._child is not None:
            try:
                code = self._child.wait(END_S)
            except subprocess.TimeoutExpired:
                logger.debug("the process of %s closed its socket and goes on", self.name)
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return CameraLostError(
            f"The process of the camera {self.name} ended ({how}).", "Check its library; see the log."
        )

    def _give_back(self, slot: int) -> None:
        channel = self._socket
        if channel is None:
            return
        try:
            channel.send(bytes([slot]))
        except OSError:
            logger.debug("the process of %s takes no slot back", self.name)

    def _started(self, channel: int, memory: int) -> subprocess.Popen[bytes]:
        order: dict[str, Any] = {"factory": self._how.factory, "arguments": self._how.arguments}
        order |= {"slots": SLOTS, "slot_bytes": SLOT_BYTES}
        three = [str(channel), str(memory), json.dumps(order)]
        if self._how.program:
            command = [*self._how.program, *three]
        else:
            command = [sys.executable, "-c", START, *three, *(path or str(Path.cwd()) for path in sys.path)]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(channel, memory),
            start_new_session=True,  # Ctrl-C is for this process, which then closes the socket
        )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Wait a moment for a process that was told to end, then kill it."""
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()


def _error_of(reported: Sequence[str]) -> LoomsightError:
    """Build the error that the process tells of: class name, problem, cure."""
    name, problem, cure = reported
    kind = getattr(errors, name, None)
    is_known = isinstance(kind, type) and issubclass(kind, LoomsightError)
    return kind(problem, cure) if is_known and kind is not None else CameraLostError(problem, cure)

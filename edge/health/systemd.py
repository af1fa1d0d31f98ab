"""Tell systemd: ready, alive, stopping. The protocol of sd_notify(3): datagrams to a socket."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping

from edge.core.counted import counted
from edge.health.state import Health, Healths
from edge.pipeline.run_state import Observer

logger = logging.getLogger(__name__)

STATUS_S = 5.0
"""How often `systemctl status` gets a new line."""


class Systemd:
    """Tell the service manager that started this process how it is doing; without one, say nothing.

    `WATCHDOG=1` is sent by finished frames, or while the loom is known to stand, and by nothing else: a
    camera that hangs lets the watchdog bite. Of several cameras each has to do so between one word and the
    next, but for those whose run is over. They may tell from threads of their own.

    Args:
        cameras: how their runs are.
        environment: with NOTIFY_SOCKET, and WATCHDOG_USEC where there is a watchdog.
        clock: monotonic seconds.
    """

    def __init__(
        self, cameras: Healths, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cameras = cameras
        self._clock = clock
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environment)
        self._is_ready = False
        self._alive: set[str | None] = set()
        self._fed_s = self._status_s = float("-inf")
        self._lock = threading.Lock()

    def update(self, name: str | None) -> None:
        """Take in what one camera has to say: a finished frame, its silence, its end.

        Called after its `Health` was brought up to date.
        """
        if self._address is None:
            return
        with self._lock:
            if _is_alive(self._cameras[name]):
                self._alive.add(name)
                self._tell_alive()
            self._tell_status()

    def observers(self, name: str | None) -> list[Observer]:
        """Return who is to be told of each frame of a camera: nobody without a service manager."""
        if self._address is None:
            return []
        return [lambda state, records: self.update(name)]

    def stopping(self) -> None:
        """Say that the run ends."""
        self._send("STOPPING=1")

    def _tell_alive(self) -> None:
        if not {name for name, health in self._cameras.items() if not health.is_over} <= self._alive:
            return
        if not self._is_ready:
            self._is_ready = True
            self._send("READY=1")
        now_s = self._clock()
        if self._watchdog_s is not None and now_s - self._fed_s >= self._watchdog_s / 4:
            self._fed_s = now_s
            self._alive.clear()
            self._send("WATCHDOG=1")

    def _tell_status(self) -> None:
        now_s = self._clock()
        if now_s - self._status_s >= STATUS_S:
            self._status_s = now_s
            self._send(f"STATUS={'; '.join(self._status(name) for name in self._cameras)}")

    def _status(self, name: str | None) -> str:
        status = _status_of(self._cameras[name])
        return f"{name}: {status}" if name else status

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto(message.encode(), self._address)
        except OSError as error:
            logger.warning("systemd does not listen: %s", error)


def _is_alive(health: Health) -> bool:
    has_started = health.snapshot is not None and not health.is_over
    return has_started and (not health.silent_s or health.loom_stands)


def _status_of(health: Health) -> str:
    run = health.snapshot
    if health.failure is not None:
        return health.failure
    if run is None:
        return "starting"
    if health.silent_s and not health.is_over:
        return f"no frame for {health.silent_s:.0f} s"
    total, defects = run.total, sum(run.defects_by_class.values())
    frames, found = counted(total.frames_inspected, "frame"), counted(defects, "defect")
    return f"{frames}, {total.metres_inspected:.1f} m, {found}"


def _address(name: str) -> str | None:
    """Return the address of the socket; a leading @ stands for an abstract one. None if there is none."""
    if not name.startswith(("/", "@")):
        return None
    return "\0" + name[1:] if name.startswith("@") else name


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return within which time the watchdog wants to be fed; None if it is not for this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None

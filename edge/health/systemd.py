"""Telling systemd: ready, alive, stopping. The protocol of sd_notify(3): datagrams to a socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from edge.health.state import Health

logger = logging.getLogger(__name__)

STATUS_S = 5.0
"""How often `systemctl status` gets a new line."""


class Systemd:
    """Tell the service manager that started this process how it is doing; without one, say nothing.

    `WATCHDOG=1` is sent by finished frames, or while the loom is known to stand, and by nothing else: a
    camera that hangs lets the watchdog bite.

    Args:
        health: of the run.
        environment: with NOTIFY_SOCKET, and WATCHDOG_USEC where there is a watchdog.
        clock: monotonic seconds.
    """

    def __init__(
        self, health: Health, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._health = health
        self._clock = clock
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environment)
        self._is_ready = False
        self._fed_s = self._status_s = float("-inf")

    def update(self, state: object, detections: object) -> None:
        """Take in one finished frame, or the silence of the camera; called after `Health.update`."""
        if self._address is None or self._health.run is None:
            return
        is_alive = not self._health.run.silent_s or self._health.loom_stands
        if not self._is_ready and is_alive:
            self._is_ready = True
            self._send("READY=1")
        now_s = self._clock()
        if is_alive and self._watchdog_s is not None and now_s - self._fed_s >= self._watchdog_s / 4:
            self._fed_s = now_s
            self._send("WATCHDOG=1")
        if now_s - self._status_s >= STATUS_S:
            self._status_s = now_s
            self._send(f"STATUS={self._status()}")

    def stopping(self) -> None:
        """Say that the run ends."""
        self._send("STOPPING=1")

    def _status(self) -> str:
        run = self._health.run
        if run is None:
            return "starting"
        if run.silent_s:
            return f"no frame for {run.silent_s:.0f} s"
        total = run.total
        frames, metres = total.frames_inspected, total.metres_inspected
        return f"{frames} frames, {metres:.1f} m, {len(run.found)} defects"

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto(message.encode(), self._address)
        except OSError as error:
            logger.warning("systemd does not listen: %s", error)


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

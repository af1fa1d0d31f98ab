"""Tell a machine that inspection goes on: a register that counts, or a coil that changes."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from typing_extensions import Self

from edge.config.machine import MachineSettings
from edge.core.errors import MachineError
from edge.core.events import RecordedEvent
from edge.health.state import Health, Healths
from edge.process.supervised import HelperThread

logger = logging.getLogger(__name__)

HEARTBEAT_LOST, HEARTBEAT_BACK = "heartbeat lost", "heartbeat back"


class Beating(Protocol):
    """Write the heartbeat: `edge.machine.modbus.ModbusLine`, on a connection of its own."""

    def beat(self, count: int) -> None:
        """Write the next value.

        Raises:
            MachineError: if it may not have arrived.
        """
        ...

    def close(self) -> None:
        """Let go of the machine."""
        ...


class Heartbeat:
    """Change a value while inspection goes on, and only then. Entering starts the thread.

    As with systemd's watchdog, finished frames feed it, or a loom that is known to stand; of several
    cameras each has to. Nothing that `/healthz` calls a reason may speak against it: a dead helper thread,
    a camera whose run has failed.

    Args:
        line: reaches the machine.
        settings: with a heartbeat.
        cameras: that watch the cloth of this machine.
    """

    def __init__(self, line: Beating, settings: MachineSettings, cameras: Healths) -> None:
        self._line = line
        self._settings = settings
        self._cameras = cameras
        self._count = 0
        self._seen: dict[str | None, float | None] = {}
        self._end = threading.Event()
        self._thread = HelperThread("heartbeat", self._beat_on, self._end)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(5.0)

    def look(self) -> bool:
        """Write the next value if inspection goes on; returns whether it does."""
        if not self._goes_on():
            return False
        self._count += 1
        try:
            self._line.beat(self._count)
        except MachineError as error:
            self._note(is_lost=True, detail=error.problem)
        else:
            self._note(is_lost=False, detail="")
        return True

    def _beat_on(self) -> None:
        try:
            while not self._end.wait(self._settings.heartbeat_s):
                self.look()
        finally:
            self._line.close()

    def _goes_on(self) -> bool:
        going = {name: health for name, health in self._cameras.items() if not health.is_over}
        is_well = all(health.verdict().is_well for health in self._cameras.values())
        if not going or not is_well or not all(self._is_fed(name, one) for name, one in going.items()):
            return False
        self._seen = {name: health.finished_s for name, health in going.items()}
        return True

    def _is_fed(self, name: str | None, health: Health) -> bool:
        has_new = health.finished_s is not None and health.finished_s != self._seen.get(name)
        return has_new or health.loom_stands

    def _note(self, *, is_lost: bool, detail: str) -> None:
        for health in self._cameras.values():
            if health.heartbeat_is_lost is not is_lost:
                health.heartbeat_is_lost = is_lost
                kind = HEARTBEAT_LOST if is_lost else HEARTBEAT_BACK
                health.helpers.tell(RecordedEvent(kind, detail))
                log = logger.error if is_lost else logger.info
                log("%s %s", kind, detail)

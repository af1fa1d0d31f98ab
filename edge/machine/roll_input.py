"""Read a signal of the machine that the next roll begins: an input, and its rising edge."""

from __future__ import annotations

from typing import Protocol

from edge.config.machine import MachineSettings


class Input(Protocol):
    """Read one input of a machine."""

    name: str

    def read(self) -> bool:
        """Return whether it is set.

        Raises:
            MachineError: if it cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of it; it can be read again."""
        ...


class ModbusInput:
    """Read a discrete input over Modbus/TCP, on a connection of its own.

    Args:
        settings: with `roll_input`.
    Raises:
        ImportError: if pymodbus is not installed.
    """

    def __init__(self, settings: MachineSettings) -> None:
        from edge.machine.modbus import ModbusLine

        self._line = ModbusLine(settings)
        self._address = settings.roll_input or 0
        self.name = f"{self._line.name} input {self._address}"

    def read(self) -> bool:
        """Return whether it is set; see `Input.read`."""
        return self._line.discrete_input(self._address)

    def close(self) -> None:
        """Close the connection."""
        self._line.close()


class Edge:
    """Tell the rising edge of an input that bounces. What it is at first, or after a break, is no edge.

    Args:
        hold_s: a change counts once it has held for so long.
    """

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._is_on: bool | None = None
        self._since: tuple[bool, float] | None = None

    def forget(self) -> None:
        """Note that nobody knows what the input did meanwhile."""
        self._is_on = self._since = None

    def rises(self, is_on: bool, now_s: float) -> bool:
        """Take in what was read; True once for an edge that has held."""
        if self._since is None or self._since[0] != is_on:
            self._since = (is_on, now_s)
        if now_s - self._since[1] < self._hold_s or self._is_on is is_on:
            return False
        was, self._is_on = self._is_on, is_on
        return is_on and was is False

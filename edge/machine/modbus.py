"""Stop over Modbus/TCP: set a coil or a holding register, and read it back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from edge.errors import MachineError
from edge.machine.settings import MachineSettings

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what fails is said here, once


class ModbusLine:
    """Reach a machine over Modbus/TCP; see `StopLine`.

    Args:
        settings: of kind `modbus`.
    """

    def __init__(self, settings: MachineSettings) -> None:
        self.name = f"modbus {settings.host}:{settings.port}"
        self._settings = settings
        self._client: ModbusTcpClient | None = None

    def fire(self) -> None:
        """Set the coil or register; see `StopLine.fire`."""
        self._write(True)

    def release(self) -> None:
        """Clear the coil or register; see `StopLine.release`."""
        self._write(False)

    def probe(self) -> bool | None:
        """Read the input that tells whether the machine runs, or else what a stop would write."""
        address = self._settings.running_input
        if address is None:
            self._read()
            return None
        return self.discrete_input(address)

    def discrete_input(self, address: int) -> bool:
        """Return whether an input is set.

        Raises:
            MachineError: if it cannot be read.
        """
        answer = self._asked(lambda client, unit: client.read_discrete_inputs(address, device_id=unit))
        return bool(answer.bits[0])

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None

    def _write(self, on: bool) -> None:
        coil, register = self._settings.coil, self._settings.holding_register
        wanted = int(on) if coil is not None else self._settings.register_value * int(on)
        if coil is not None:
            self._asked(lambda client, unit: client.write_coil(coil, on, device_id=unit))
        elif register is not None:
            self._asked(lambda client, unit: client.write_register(register, wanted, device_id=unit))
        if self._settings.read_back and (found := self._read()) != wanted:
            raise MachineError(
                f"The machine ({self.name}) holds {found} where {wanted} was written.",
                "Check the address; if the PLC takes the signal back by itself, set read_back = false.",
            )

    def _read(self) -> int:
        coil, register = self._settings.coil, self._settings.holding_register
        if coil is not None:
            return int(self._asked(lambda client, unit: client.read_coils(coil, device_id=unit)).bits[0])
        address = register or 0
        answer = self._asked(lambda client, unit: client.read_holding_registers(address, device_id=unit))
        return int(answer.registers[0])

    def _asked(self, ask: Callable[[ModbusTcpClient, int], Any]) -> Any:
        """Ask once; a connection that failed is closed, so that the next try begins with a new one."""
        try:
            answer = ask(self._connected(), self._settings.device_id)
        except (ModbusException, OSError) as error:
            self.close()
            said = str(error).removeprefix("Modbus Error: ")
            raise MachineError(
                f"The machine ({self.name}) does not answer: {said}.", "Check cable, address and PLC."
            ) from error
        if answer.isError():
            raise MachineError(
                f"The machine ({self.name}) refuses: exception {answer.exception_code}.",
                "Check device_id and the address of the coil or register.",
            )
        return answer

    def _connected(self) -> ModbusTcpClient:
        if self._client is None:
            settings = self._settings
            client = ModbusTcpClient(
                settings.host, port=settings.port, timeout=settings.timeout_s, retries=0
            )
            if not client.connect():  # type: ignore[no-untyped-call]
                raise ConnectionError("no connection")
            self._client = client
        return self._client

"""Stop over Modbus/TCP: set a coil or a holding register, and read it back."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ModbusPDU

from edge.config.machine import MachineSettings
from edge.core.errors import MachineError
from edge.machine.replies import STRICT, BadReplyError, RefusedError, checked_reply, refusal
from edge.process.supervised import described

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what fails is said here, once

MOST_SHOWN_BYTES: Final = 24
"""Of what came in place of a reply."""

READ_COIL, READ_INPUT, READ_REGISTER, WRITE_COIL, WRITE_REGISTER = 1, 2, 3, 5, 6
"""Functions: Modbus Application Protocol 1.1b3, section 6."""

QUESTIONS: Final = {
    READ_COIL: "read a coil",
    READ_INPUT: "read a discrete input",
    READ_REGISTER: "read a holding register",
    WRITE_COIL: "write a coil",
    WRITE_REGISTER: "write a holding register",
}

Ask = Callable[[ModbusTcpClient, int], ModbusPDU]


class ModbusLine:
    """Reach a machine over Modbus/TCP; see `StopLine`.

    Args:
        settings: of kind `modbus`.
    """

    def __init__(self, settings: MachineSettings) -> None:
        self.name = f"modbus {settings.host}:{settings.port}"
        self.may_stand = False
        self._settings = settings
        self._client: ModbusTcpClient | None = None
        self._received = b""

    def fire(self) -> None:
        """Set the coil or register; see `StopLine.fire`."""
        self.may_stand = True
        self._write(True)

    def release(self) -> None:
        """Clear the coil or register; see `StopLine.release`."""
        self._write(False)
        self.may_stand = False

    def stands(self) -> bool | None:
        """Read the coil or register; see `StopLine.stands`."""
        on = 1 if self._settings.coil is not None else self._settings.register_value
        try:
            return self._read() == on
        except RefusedError:
            return None

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
        reply = self._asked(
            READ_INPUT, lambda client, unit: client.read_discrete_inputs(address, device_id=unit)
        )
        return bool(reply.bits[0])

    def beat(self, count: int) -> None:
        """Write the next value of the heartbeat: a coil changes with each, a register counts.

        Raises:
            MachineError: if it may not have arrived.
        """
        coil, register = self._settings.heartbeat_coil, self._settings.heartbeat_register
        if coil is not None:
            self._write_coil(coil, bool(count % 2))
        elif register is not None:
            self._write_register(register, count % 65536)

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None

    def _write(self, on: bool) -> None:
        coil, register = self._settings.coil, self._settings.holding_register
        wanted = int(on) if coil is not None else self._settings.register_value * int(on)
        if coil is not None:
            self._write_coil(coil, on)
        elif register is not None:
            self._write_register(register, wanted)
        if self._settings.read_back and (found := self._read()) != wanted:
            raise MachineError(
                f"The machine ({self.name}) holds {found} where {wanted} was written.",
                "Check the address; if the PLC takes the signal back by itself, set read_back = false.",
            )

    def _write_coil(self, coil: int, on: bool) -> None:
        self._asked(
            WRITE_COIL,
            lambda client, unit: client.write_coil(coil, on, device_id=unit),
            coil,
            [int(on)],
        )

    def _write_register(self, register: int, value: int) -> None:
        self._asked(
            WRITE_REGISTER,
            lambda client, unit: client.write_register(register, value, device_id=unit),
            register,
            [value],
        )

    def _read(self) -> int:
        coil, register = self._settings.coil, self._settings.holding_register
        if coil is not None:
            reply = self._asked(READ_COIL, lambda client, unit: client.read_coils(coil, device_id=unit))
            return int(reply.bits[0])
        address = register or 0
        reply = self._asked(
            READ_REGISTER, lambda client, unit: client.read_holding_registers(address, device_id=unit)
        )
        return int(reply.registers[0])

    def _asked(
        self, function: int, ask: Ask, address: int | None = None, values: list[int] | None = None
    ) -> Any:
        """Ask once; see `checked_reply`. What went wrong closes the connection: the next try starts again.

        Raises:
            RefusedError: if the machine refuses.
            MachineError: if it does not reply, or not to this question.
        """
        try:
            reply = ask(self._connected(), self._settings.device_id)
            if reply.isError() and reply.function_code == function | 0x80:
                raise refusal(self.name, QUESTIONS[function], reply.exception_code)
            return checked_reply(reply, function, address, values or [])
        except RefusedError:
            raise
        # What a library makes of the bytes of a stranger has no end: whatever it is, there is no reply.
        except Exception as error:
            self.close()
            raise self._no_reply(error) from error

    def _no_reply(self, error: Exception) -> MachineError:
        if isinstance(error, BadReplyError):
            return MachineError(
                f"The machine ({self.name}) sends a wrong reply: {error}.",
                "Check that a Modbus/TCP server listens there; if one does, its firmware is at fault.",
            )
        why, cure = f"{described(error)}", "Check cable, host and port."
        if isinstance(error, ConnectionException | ConnectionResetError | BrokenPipeError):
            why, cure = "it closes the connection", "It may serve too few clients at once; check it."
        elif isinstance(error, ModbusException):
            why = f"no reply within {self._settings.timeout_s:g} s{self._what_came()}"
            cure = "Check device_id and the PLC, or raise timeout_s."
        elif isinstance(error, OSError):
            why = "no connection within time" if isinstance(error, TimeoutError) else error.strerror or why
        return MachineError(f"The machine ({self.name}) does not answer: {why}.", cure)

    def _what_came(self) -> str:
        """Show the beginning of what came in place of a reply, for whoever knows the PLC."""
        if not self._received:
            return ""
        more = "..." if len(self._received) > MOST_SHOWN_BYTES else ""
        return f"; what came is none: {self._received[:MOST_SHOWN_BYTES].hex(' ')}{more}"

    def _traced(self, sending: bool, data: bytes) -> bytes:
        self._received = b"" if sending else data
        return data

    def _connected(self) -> ModbusTcpClient:
        if self._client is None:
            settings = self._settings
            client = ModbusTcpClient(
                settings.host,
                port=settings.port,
                timeout=settings.timeout_s,
                retries=0,
                trace_packet=self._traced,
            )
            for reply in STRICT:
                client.register(reply)
            # Connected here, as pymodbus keeps to itself why that failed.
            client.socket = socket.create_connection((settings.host, settings.port), settings.timeout_s)
            self._client = client
        return self._client

"""Check what a Modbus server replies, and name what it refuses with."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsResponse,
    ReadDiscreteInputsResponse,
    WriteSingleCoilResponse,
)
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, WriteSingleRegisterResponse

from edge.core.errors import MachineError

REFUSALS: Final[dict[int, tuple[str, str]]] = {
    1: (
        "illegal function",
        "It has no addresses of this kind: name another, for instance holding_register in place of coil.",
    ),
    2: (
        "illegal data address",
        "It has no such address: check device_id, and the address in the PLC's list, which may count from "
        "1 where this setting counts from 0.",
    ),
    3: ("illegal data value", "It takes no such value: check register_value."),
    4: ("server device failure", "The PLC itself has a fault: see its lamps and its own diagnosis."),
    5: ("acknowledge", "It needs longer than Modbus waits: let its program take the signal at once."),
    6: (
        "server device busy",
        "It is busy, and is asked again; if it stays so, raise retries and give_up_s, or let fewer clients "
        "ask it.",
    ),
    7: ("negative acknowledge", "Its program does not do this now: ask whoever wrote it."),
    8: ("memory parity error", "The memory of the PLC has a fault: see its own diagnosis."),
    10: (
        "gateway path unavailable",
        "The gateway has no way to this device_id: check device_id and the gateway's settings.",
    ),
    11: (
        "gateway target device failed to respond",
        "The gateway answers, the device behind it does not: check its power, cable and device_id, or "
        "raise timeout_s.",
    ),
}
"""Exception codes: name, and what to do. Modbus Application Protocol 1.1b3, section 7."""


class BadReplyError(Exception):
    """A reply is not what the protocol says; it may have come from anything."""


class RefusedError(MachineError):
    """The machine understood a question, and refuses."""


def refusal(name: str, question: str, code: int) -> RefusedError:
    """Return the error for an exception code.

    Args:
        name: of the machine.
        question: what it was to do.
        code: what it replied.
    """
    called, cure = REFUSALS.get(code, ("not a code of the protocol", "See the manual of the PLC."))
    return RefusedError(f"The machine ({name}) refuses to {question}: exception {code}, {called}.", cure)


class OneValue(ModbusPDU):
    """Take a reply to the question for one value, of as many bytes as that has."""

    value_bytes: ClassVar = 1

    def decode(self, data: bytes) -> None:
        """Take the value; see `_check_length`."""
        _check_length(data, self.value_bytes)
        super().decode(data)


class OneCoil(OneValue, ReadCoilsResponse):
    """Take a reply to the question for one coil."""


class OneInput(OneValue, ReadDiscreteInputsResponse):
    """Take a reply to the question for one discrete input."""


class OneRegister(OneValue, ReadHoldingRegistersResponse):
    """Take a reply to the question for one holding register."""

    value_bytes = 2


class CoilWritten(WriteSingleCoilResponse):
    """Take the echo of a coil that was written."""

    def decode(self, data: bytes) -> None:
        """Take address and value.

        Raises:
            BadReplyError: if it is too short or too long, or the value is neither on nor off.
        """
        _check_echo(data)
        if data[2:] not in (b"\xff\x00", b"\x00\x00"):
            raise BadReplyError(f"a coil that is neither on nor off (0x{data[2:].hex()})")
        super().decode(data)


class RegisterWritten(WriteSingleRegisterResponse):
    """Take the echo of a register that was written."""

    def decode(self, data: bytes) -> None:
        """Take address and value.

        Raises:
            BadReplyError: if it is too short or too long.
        """
        _check_echo(data)
        super().decode(data)


STRICT: Final = (OneCoil, OneInput, OneRegister, CoilWritten, RegisterWritten)
"""Replies as pymodbus is to read them: by itself it takes bits without bytes, and bytes without a count."""


def checked_reply(reply: ModbusPDU, function: int, address: int | None, values: list[int]) -> Any:
    """Return a reply that belongs to its question.

    Args:
        reply: as pymodbus read it; no refusal.
        function: that was asked for.
        address: that was written to; None for a question.
        values: that were written; empty for a question.
    Raises:
        BadReplyError: if it belongs to another question.
    """
    if reply.function_code != function:
        raise BadReplyError(f"a reply to function {reply.function_code} where {function} was asked for")
    if address is not None and reply.address != address:
        raise BadReplyError(f"address {reply.address} where {address} was written")
    echoed = [int(value) for value in (*reply.bits, *reply.registers)]
    if values and echoed != values:
        raise BadReplyError(f"{echoed} where {values} was written")
    return reply


def _check_length(data: bytes, wanted: int) -> None:
    """See that a reply has the bytes that it counts, and as many as were asked for.

    Raises:
        BadReplyError: if not.
    """
    if len(data) != wanted + 1 or data[0] != wanted:
        counted = data[0] if data else "no"
        raise BadReplyError(f"{max(0, len(data) - 1)} data bytes, {counted} counted, where {wanted} belong")


def _check_echo(data: bytes) -> None:
    if len(data) != 4:
        raise BadReplyError(f"{len(data)} bytes where 4 belong")

"""Choose the module that reaches the machine, and the one that reads its signal for the next roll."""

from __future__ import annotations

from edge.config.machine import MachineSettings
from edge.core.errors import ConfigError
from edge.machine.protocol import StopLine
from edge.machine.roll_input import Input, ModbusInput


def choose_line(settings: MachineSettings) -> StopLine:
    """Return what reaches the machine; nothing is connected yet.

    Raises:
        ConfigError: if there is no machine.
        ImportError: if the package that reaches it is not installed.
    """
    if settings.kind == "modbus":
        from edge.machine.modbus import ModbusLine

        return ModbusLine(settings)
    if settings.kind == "gpio":
        from edge.machine.gpio import GpioLine

        return GpioLine(settings)
    raise ConfigError(
        "No machine is set.",
        'Add a table [machine] with kind = "modbus" or "gpio" to the file of --config.',
    )


def choose_input(settings: MachineSettings) -> Input:
    """Return what reads `roll_input`; nothing is connected yet.

    Raises:
        ImportError: if the package that reaches it is not installed.
    """
    if settings.kind == "gpio":
        from edge.machine.gpio import OwnedLine

        return OwnedLine(settings.chip, settings.roll_input, "INPUT", settings.roll_active_low)
    return ModbusInput(settings)

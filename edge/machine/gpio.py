"""Drive lines of this device through libgpiod 2: one stops the machine, one signals the end of a roll.

Never tried on hardware.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from edge.config.machine import MachineSettings
from edge.core.errors import MachineError


class GpioLine:
    """Reach a machine by a relay at a line; see `StopLine`.

    Args:
        settings: of kind `gpio`.
    Raises:
        ImportError: if libgpiod's Python package is not installed.
    """

    def __init__(self, settings: MachineSettings) -> None:
        self._line = OwnedLine(settings.chip, settings.line, "OUTPUT", settings.active_low)
        self._read_back = settings.read_back
        self.name = self._line.name
        self.may_stand = False

    def fire(self) -> None:
        """Switch the line on; see `StopLine.fire`."""
        self.may_stand = True
        self._set(True)

    def release(self) -> None:
        """Switch the line off; see `StopLine.release`."""
        self._set(False)
        self.may_stand = False

    def stands(self) -> bool:
        """Read the line back. What a run before left is gone: a line that is taken is switched off."""
        return self._line.read()

    def probe(self) -> None:
        """See that the line is ours; a line does not say whether the machine runs."""
        self._line.take()

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    def _set(self, is_on: bool) -> None:
        self._line.write(is_on)
        if self._read_back and self._line.read() is not is_on:
            raise MachineError(f"{self.name} does not follow.", "Check the wiring.")


class OwnedLine:
    """Own a line of a chip from its first use on, and again after it was lost. An `Input`, if it is one.

    Args:
        chip: for instance `/dev/gpiochip0`.
        number: of the line.
        direction: an OUTPUT is switched off when it is taken.
        active_low: it is on when it is low.
    Raises:
        ImportError: if libgpiod's Python package is not installed.
    """

    def __init__(
        self, chip: str, number: int | None, direction: Literal["INPUT", "OUTPUT"], active_low: bool
    ) -> None:
        self.name = f"{chip} line {number}"
        self._gpiod: Any = import_module("gpiod")
        self._chip, self._number = chip, number
        self._values = self._gpiod.line.Value
        self._settings = self._gpiod.LineSettings(
            direction=self._gpiod.line.Direction[direction],
            output_value=self._values.INACTIVE,
            active_low=active_low,
        )
        self._request: Any = None

    def take(self) -> Any:
        """Return gpiod's request of the line.

        Raises:
            MachineError: if there is no such line, or another program has it.
        """
        if self._request is None:
            try:
                self._request = self._gpiod.request_lines(
                    self._chip, consumer="loomsight", config={self._number: self._settings}
                )
            except (OSError, ValueError) as error:
                cure = "Check the chip, the line and permissions."
                raise MachineError(f"{self.name} cannot be taken: {error}.", cure) from error
        return self._request

    def read(self) -> bool:
        """Return whether it is on.

        Raises:
            MachineError: if it cannot be read.
        """
        return bool(self._use("get_value", self._number) == self._values.ACTIVE)

    def write(self, is_on: bool) -> None:
        """Switch it.

        Raises:
            MachineError: if it cannot be switched.
        """
        self._use("set_value", self._number, self._values.ACTIVE if is_on else self._values.INACTIVE)

    def close(self) -> None:
        """Give it back."""
        if self._request is not None:
            self._request.release()
            self._request = None

    def _use(self, method: str, *arguments: Any) -> Any:
        request = self.take()
        try:
            return getattr(request, method)(*arguments)
        except OSError as error:
            self.close()
            raise MachineError(f"{self.name}: {error}.", "Check the wiring and permissions.") from error

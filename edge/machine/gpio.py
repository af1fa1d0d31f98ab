"""Lines of this box, through libgpiod 2: one stops the machine, one says that a roll ends.

Never tried on hardware.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from edge.errors import MachineError
from edge.machine.settings import MachineSettings


class GpioLine:
    """Reach a machine by a relay at a line; see `StopLine`.

    Args:
        settings: of kind `gpio`.
    Raises:
        ImportError: if libgpiod's Python package is not installed.
    """

    def __init__(self, settings: MachineSettings) -> None:
        gpiod: Any = import_module("gpiod")
        self._line = OwnedLine(
            gpiod,
            settings.chip,
            settings.line,
            direction=gpiod.line.Direction.OUTPUT,
            output_value=gpiod.line.Value.INACTIVE,
            active_low=settings.active_low,
        )
        self._values = gpiod.line.Value
        self._read_back = settings.read_back
        self.name = self._line.name

    def fire(self) -> None:
        """Switch the line on; see `StopLine.fire`."""
        self._set(self._values.ACTIVE)

    def release(self) -> None:
        """Switch the line off; see `StopLine.release`."""
        self._set(self._values.INACTIVE)

    def probe(self) -> None:
        """See that the line is ours; a line does not say whether the machine runs."""
        self._line.take()

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    def _set(self, value: Any) -> None:
        self._line.write(value)
        if self._read_back and self._line.read() != value:
            raise MachineError(f"{self.name} does not follow.", "Check the wiring.")


class GpioInput:
    """Read a line; see `edge.machine.roll_input.Input`.

    Args:
        settings: of kind `gpio`, with `roll_input`.
    Raises:
        ImportError: if libgpiod's Python package is not installed.
    """

    def __init__(self, settings: MachineSettings) -> None:
        gpiod: Any = import_module("gpiod")
        self._line = OwnedLine(
            gpiod,
            settings.chip,
            settings.roll_input,
            direction=gpiod.line.Direction.INPUT,
            active_low=settings.roll_active_low,
        )
        self._active = gpiod.line.Value.ACTIVE
        self.name = self._line.name

    def read(self) -> bool:
        """Return whether it is active; see `Input.read`."""
        return bool(self._line.read() == self._active)

    def close(self) -> None:
        """Give the line back."""
        self._line.close()


class OwnedLine:
    """Own a line of a chip from its first use on, and again after it was lost.

    Args:
        gpiod: the package.
        chip: for instance `/dev/gpiochip0`.
        line: its number.
        settings: of `gpiod.LineSettings`.
    """

    def __init__(self, gpiod: Any, chip: str, line: int | None, **settings: Any) -> None:
        self.name = f"{chip} line {line}"
        self._gpiod = gpiod
        self._chip, self._number = chip, line
        self._settings = gpiod.LineSettings(**settings)
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

    def read(self) -> Any:
        """Return its value.

        Raises:
            MachineError: if it cannot be read.
        """
        return self._use("get_value", self._number)

    def write(self, value: Any) -> None:
        """Set it.

        Raises:
            MachineError: if it cannot be set.
        """
        self._use("set_value", self._number, value)

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

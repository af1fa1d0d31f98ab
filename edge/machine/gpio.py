"""Stop by a line of this box, through libgpiod 2. Not tested on hardware."""

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
        self.name = f"{settings.chip} line {settings.line}"
        self._settings = settings
        self._gpiod: Any = import_module("gpiod")
        self._request: Any = None

    def fire(self) -> None:
        """Switch the line on; see `StopLine.fire`."""
        self._set(self._gpiod.line.Value.ACTIVE)

    def release(self) -> None:
        """Switch the line off; see `StopLine.release`."""
        self._set(self._gpiod.line.Value.INACTIVE)

    def probe(self) -> None:
        """See that the line is ours; a line does not say whether the machine runs."""
        self._owned()

    def close(self) -> None:
        """Give the line back."""
        if self._request is not None:
            self._request.release()
            self._request = None

    def _set(self, value: Any) -> None:
        try:
            request = self._owned()
            request.set_value(self._settings.line, value)
            if self._settings.read_back and request.get_value(self._settings.line) != value:
                raise MachineError(f"{self.name} does not follow.", "Check the wiring.")
        except OSError as error:
            self.close()
            raise MachineError(f"{self.name}: {error}.", "Check the wiring and permissions.") from error

    def _owned(self) -> Any:
        if self._request is None:
            line = self._gpiod.line
            wanted = self._gpiod.LineSettings(
                direction=line.Direction.OUTPUT,
                output_value=line.Value.INACTIVE,
                active_low=self._settings.active_low,
            )
            try:
                self._request = self._gpiod.request_lines(
                    self._settings.chip, consumer="loomsight", config={self._settings.line: wanted}
                )
            except OSError as error:
                raise MachineError(
                    f"{self.name} cannot be taken: {error}.", "Check the chip, the line and permissions."
                ) from error
        return self._request

"""Define the protocol of a way to stop the machine."""

from __future__ import annotations

from typing import Protocol


class StopLine(Protocol):
    """Reach the machine. Calls may block, each for about its timeout; nothing happens before the first.

    Attributes:
        name: what to call it in a message.
        may_stand: whether the signal was given, or that was tried, and was not taken back since.
    """

    name: str
    may_stand: bool

    def fire(self) -> None:
        """Give the signal to stop, and see that it stands.

        Raises:
            MachineError: if it may not have arrived.
        """
        ...

    def release(self) -> None:
        """Take the signal back.

        Raises:
            MachineError: if that may not have arrived.
        """
        ...

    def stands(self) -> bool | None:
        """Look whether the signal to stop stands, whoever gave it.

        Returns:
            None if that cannot be read.
        Raises:
            MachineError: if the machine cannot be reached.
        """
        ...

    def probe(self) -> bool | None:
        """Look whether the machine can be reached.

        Returns:
            Whether it runs; None if it does not say.
        Raises:
            MachineError: if it cannot be reached.
        """
        ...

    def close(self) -> None:
        """Let go of it; it can be used again."""
        ...

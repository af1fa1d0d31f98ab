"""Define every way a run can end badly: one class, one exit code, one cure each.

The message of each error is a single line that says what happened and then what to do about it.
Only a command's `main` turns an error into an exit code.
"""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import Self


class LoomsightError(Exception):
    """Say what went wrong and how to cure it, in one line.

    Args:
        problem: what happened, with the name of the thing it happened to.
        cure: what the person reading it should do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, cure: str) -> None:
        self.problem = " ".join(problem.split())
        self.cure = " ".join(cure.split())
        super().__init__(f"{self.problem} {self.cure}")

    def of_camera(self, name: str | None) -> Self:
        """Return the same error of one of several cameras; the only one has no name."""
        if name is None:
            return self
        named = type(self).__new__(type(self))
        vars(named).update(vars(self))
        LoomsightError.__init__(named, f"Camera '{name}': {self.problem}", self.cure)
        return named


class ConfigError(LoomsightError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = 10


class MissingPackageError(LoomsightError):
    """A package or a system library that this command needs is not installed."""

    exit_code = 11


class CameraNotFoundError(LoomsightError):
    """The camera, file, folder or address does not exist or cannot be opened."""

    exit_code = 20


class CameraLostError(LoomsightError):
    """A camera that was delivering frames stopped doing so."""

    exit_code = 21


class ImageError(LoomsightError):
    """An image is unreadable, truncated or of a kind that cannot be inspected."""

    exit_code = 22


class NoImagesError(LoomsightError):
    """A folder holds no images, or a video no frames."""

    exit_code = 23


class FrameSizeError(LoomsightError):
    """A camera changed the size of its frames in mid-stream."""

    exit_code = 24


class ModelError(LoomsightError):
    """A model file or bundle is missing, damaged, or not what it says it is."""

    exit_code = 30


class ContractError(LoomsightError):
    """A model has no contract, one that is too new, or one that it does not keep."""

    exit_code = 31


class SignatureError(LoomsightError):
    """A bundle is not signed by a key that this device trusts."""

    exit_code = 33


class BackendError(LoomsightError):
    """An inference runtime cannot be used on this device."""

    exit_code = 32


class OutputError(LoomsightError):
    """A result cannot be written: no permission, no such folder, no space left."""

    exit_code = 40


class RecordError(LoomsightError):
    """A roll record is missing, in use, of a newer program, or lacks what was asked for."""

    exit_code = 41


class MachineError(LoomsightError):
    """The machine cannot be reached, or does not take a stop."""

    exit_code = 42


class BrokerError(LoomsightError):
    """The MQTT broker cannot be reached, or does not authorise this device."""

    exit_code = 43


class AuditError(LoomsightError):
    """An audit log is missing, or is not what was written."""

    exit_code = 44


class DatabaseError(LoomsightError):
    """The office's database cannot be reached, is of another version, or refuses what is asked."""

    exit_code = 45


class ReleaseError(LoomsightError):
    """The list of releases cannot be fetched, is older than the last one, or names what is not there."""

    exit_code = 46


class DatasetError(LoomsightError):
    """A training data set is missing, empty or inconsistent."""

    exit_code = 50


class CheckpointError(LoomsightError):
    """A checkpoint is missing, damaged, or of another structure."""

    exit_code = 51


class TrainingError(LoomsightError):
    """Training cannot go on, for instance because the loss is not finite."""

    exit_code = 52


class ParityError(LoomsightError):
    """An exported model does not give what its checkpoint gives."""

    exit_code = 53


class PruningError(LoomsightError):
    """A pruned detector is not what its plan says."""

    exit_code = 54


class GateError(LoomsightError):
    """A new bundle is worse than the one in use."""

    exit_code = 55


class InternalError(LoomsightError):
    """A fault of this program that nobody foresaw; what a maintainer needs is kept in a file."""

    exit_code = 70


INTERRUPTED_EXIT_CODE = 130
"""Exit code after Ctrl-C (128 + SIGINT), for work that did not reach its end."""

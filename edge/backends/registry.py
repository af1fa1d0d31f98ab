"""The backends by name: what each needs and can do, and where it is. None is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol, cast

from edge.backends.description import BackendOptions, Installed, Precision
from edge.backends.probe import nvidia_gpu_present
from edge.core.settings import OneOf

if TYPE_CHECKING:
    from edge.backends.protocol import OpenBackend
    from edge.core.contract import ModelContract


class BackendModule(Protocol):
    """What the module of every backend has."""

    def open_model(self, model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenBackend:
        """Open the backend on a model; see its class for what that raises."""
        ...

    def installed(self) -> Installed:
        """Say what is installed of it.

        Raises:
            RuntimeError: if it does not work.
        """
        ...


@dataclass(frozen=True, slots=True)
class BackendKind:
    """Say what a backend needs and what it can do.

    Attributes:
        title: as its makers call it.
        module: that has it; to import that may take its package.
        package: that it imports.
        distributions: that bring this package; the versions of those that are installed tell a
            measurement from an older one.
        precisions: that it can be told to compute in; those of variants need a bundle that has them.
        is_in_every_installation: an extra brings the others.
        has_providers: whether the setting `providers` is for it.
        runs_engines: whether it runs what was built for it beforehand; unless told otherwise, in the lowest
            precision that a bundle has.
        can_run: tells whether this device has what it needs besides that package.
    """

    title: str
    module: str
    package: str
    distributions: tuple[str, ...]
    precisions: tuple[Precision, ...]
    is_in_every_installation: bool = False
    has_providers: bool = False
    runs_engines: bool = False
    can_run: Callable[[], bool] = lambda: True

    def load(self) -> BackendModule:
        """Import its module.

        Raises:
            ImportError: if its package is not installed, or does not load.
        """
        return cast(BackendModule, import_module(self.module))

    @property
    def versions(self) -> dict[str, str]:
        """Versions of those of its distributions that are installed."""
        from importlib.metadata import PackageNotFoundError, version

        found = {}
        for distribution in self.distributions:
            with suppress(PackageNotFoundError):
                found[distribution] = version(distribution)
        return found

    @property
    def version(self) -> str:
        """As in `tensorrt 10.3, pycuda 2026.1`; without its package being imported."""
        return ", ".join(f"{name} {number}" for name, number in self.versions.items()) or "unknown"

    def opened(self, model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenBackend:
        """Open it on a model.

        Raises:
            ImportError: if its package is not installed, or does not load.
            LoomsightError: as its class says.
        """
        return self.load().open_model(model_path, contract, options)


def _tensorrt_can_run() -> bool:
    from edge.backends.tensorrt_library import installed_libraries

    return nvidia_gpu_present() and bool(installed_libraries())


BACKENDS: Final[Mapping[str, BackendKind]] = {
    "onnxruntime": BackendKind(
        "ONNX Runtime",
        "edge.backends.onnxruntime",
        "onnxruntime",
        distributions=("onnxruntime-gpu", "onnxruntime"),
        precisions=("f32", "f16", "int8"),
        is_in_every_installation=True,
        has_providers=True,
    ),
    "openvino": BackendKind(
        "OpenVINO",
        "edge.backends.openvino",
        "openvino",
        distributions=("openvino",),
        precisions=("f32", "bf16", "int8"),
    ),
    "tensorrt": BackendKind(
        "TensorRT",
        "edge.backends.tensorrt",
        "pycuda",
        distributions=("tensorrt", "tensorrt-rtx", "pycuda"),
        precisions=("f32", "f16", "int8"),
        runs_engines=True,
        can_run=_tensorrt_can_run,
    ),
}
"""The one that needs no extra comes first. Adding one: docs/design.md says what that takes."""

BackendName = Annotated[str, OneOf(BACKENDS)]

"""The backends by name. None is imported before it is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edge.backends.description import BackendName, Precision
from edge.backends.fastest import FastestBackend
from edge.backends.measurements import Circumstances, MeasurementCache, cache_path
from edge.backends.probe import available_cores, nvidia_gpu_present, processor_name
from edge.backends.protocol import OpenBackend
from edge.bundle import Bundle, model_digest_of
from edge.contract import ModelContract
from edge.errors import ConfigError
from edge.inspector import Backend


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Say how to run a network, whatever runs it.

    Attributes:
        providers: of ONNX Runtime, in order of preference; empty for its built-in order.
        precision: to compute in; None for what is usual on this processor.
        threads: of one inference; None for as many as there are cores.
    """

    providers: tuple[str, ...] = ()
    precision: Precision | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class BackendKind:
    """Say what a backend needs and how it is opened.

    Attributes:
        module: that it imports.
        distributions: packages that bring this module.
        precisions: that it can be told to compute in.
        opened: opens it; see the backend's class for what that raises.
        can_run: tells whether this box has what it needs besides that module.
    """

    module: str
    distributions: tuple[str, ...]
    precisions: tuple[Precision, ...]
    opened: Callable[[Path, ModelContract, BackendOptions], OpenBackend]
    can_run: Callable[[], bool] = lambda: True


def _onnxruntime(model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenBackend:
    from edge.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(model_path, contract, options.providers or None, options.threads)


def _openvino(model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenBackend:
    from edge.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(model_path, contract, options.precision, options.threads)


def _tensorrt(model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenBackend:
    from edge.backends.tensorrt import TensorRtBackend

    return TensorRtBackend(model_path, contract, options.precision)


def _tensorrt_can_run() -> bool:
    from edge.backends.tensorrt_library import installed_libraries

    return nvidia_gpu_present() and bool(installed_libraries())


BACKENDS: Final[Mapping[BackendName, BackendKind]] = {
    "onnxruntime": BackendKind("onnxruntime", ("onnxruntime-gpu", "onnxruntime"), ("f32",), _onnxruntime),
    "openvino": BackendKind("openvino", ("openvino",), ("f32", "bf16"), _openvino),
    "tensorrt": BackendKind(
        "pycuda", ("tensorrt", "tensorrt-rtx", "pycuda"), ("f32",), _tensorrt, _tensorrt_can_run
    ),
}
"""The one that needs no extra comes first."""


def open_backend(
    name: BackendName, model_path: Path, contract: ModelContract, options: BackendOptions
) -> OpenBackend:
    """Open the backend somebody asked for by name.

    Raises:
        ConfigError: if an option is none of this backend's.
        ImportError: if its package is not installed; a command's `main` names the cure.
        LoomsightError: as the backend's class says.
    """
    kind = BACKENDS[name]
    if options.precision and options.precision not in kind.precisions:
        able = " or ".join(other for other in BACKENDS if options.precision in BACKENDS[other].precisions)
        raise ConfigError(f"The backend {name} cannot compute in {options.precision}.", f"Use {able}.")
    if options.providers and name != "onnxruntime":
        raise ConfigError(
            f"The setting 'providers' is not for the backend {name}.", "Leave it out, or use onnxruntime."
        )
    return kind.opened(model_path, contract, options)


def usable_backends(options: BackendOptions) -> list[BackendName]:
    """Return the backends that are installed and can do what is asked, without importing any."""
    return [
        name
        for name, kind in BACKENDS.items()
        if find_spec(kind.module)
        and kind.can_run()
        and (options.precision is None or options.precision in kind.precisions)
    ]


def version_of(name: BackendName) -> str:
    """Return the version of a backend's package without importing it."""
    found = []
    for distribution in BACKENDS[name].distributions:
        try:
            found.append(f"{distribution} {version(distribution)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found) or "unknown"


def fastest_backend(
    bundle: Bundle, contract: ModelContract, options: BackendOptions, check: Callable[[Backend], None]
) -> OpenBackend:
    """Open what is fastest on this box for a model: see `FastestBackend`.

    Args:
        contract: as the model was published.
        check: raises if a backend does not compute what it should.
    Raises:
        ConfigError: if nothing that is installed can do what is asked.
        LoomsightError: if the model cannot be vouched for on any backend.
    """
    names = usable_backends(options)
    if not names:
        raise ConfigError(
            f"No backend that is installed can compute in {options.precision}.",
            "Leave the setting 'precision' out, or install loomsight[openvino].",
        )
    return FastestBackend(
        {name: partial(BACKENDS[name].opened, bundle.model_path, contract, options) for name in names},
        (contract.channels, *contract.input_size_hw_px),
        circumstances=partial(_circumstances, model_digest_of(bundle), options, tuple(names)),
        check=check,
        cache=MeasurementCache(cache_path(os.environ)),
    )


def _circumstances(
    model_digest: str, options: BackendOptions, names: tuple[BackendName, ...], batch: int
) -> Circumstances:
    return Circumstances(
        model_digest=model_digest,
        batch=batch,
        threads=options.threads or available_cores(),
        precision=options.precision,
        providers=options.providers,
        runtimes={name: version_of(name) for name in names},
        processor=processor_name(),
        nvidia_gpu=nvidia_gpu_present(),
    )

"""The backends by name. None is imported before it is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edge.backends.description import BackendName, CandidateName, Precision
from edge.backends.fastest import FastestBackend, opened_and_checked
from edge.backends.measurements import Circumstances, MeasurementCache, cache_path
from edge.backends.probe import available_cores, nvidia_gpu_present, processor_name
from edge.backends.protocol import Backend, OpenBackend
from edge.bundle.opening import Bundle, model_digest_of
from edge.core.contract import ModelContract
from edge.core.errors import ConfigError
from edge.process.packages import install_extra


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Say how to run a network, whatever runs it.

    Attributes:
        providers: of ONNX Runtime, in order of preference; empty for its built-in order.
        precision: to compute in; None for what is usual on this processor, and for `fastest_backend` also
            for the INT8 variant where a bundle has one.
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
        precisions: that it can be told to compute in; those of variants need a bundle that has them.
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

    precision = PRECISION_NAMES[options.precision or "f32"]
    return OnnxRuntimeBackend(model_path, contract, options.providers or None, options.threads, precision)


def _openvino(model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenBackend:
    from edge.backends.openvino import OpenVinoBackend
    from edge.backends.proof import prove

    prove(model_path)
    return OpenVinoBackend(model_path, contract, options.precision, options.threads)


def _tensorrt(model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenBackend:
    from edge.backends.tensorrt import TensorRtBackend

    return TensorRtBackend(model_path, contract)


def _tensorrt_can_run() -> bool:
    from edge.backends.tensorrt_library import installed_libraries

    return nvidia_gpu_present() and bool(installed_libraries())


PRECISION_NAMES: Final[Mapping[Precision, str]] = {
    "f32": "float32", "bf16": "bfloat16", "f16": "float16", "int8": "int8",
}  # fmt: skip
"""What a `BackendDescription` calls them."""

BACKENDS: Final[Mapping[BackendName, BackendKind]] = {
    "onnxruntime": BackendKind(
        "onnxruntime", ("onnxruntime-gpu", "onnxruntime"), ("f32", "f16", "int8"), _onnxruntime
    ),
    "openvino": BackendKind("openvino", ("openvino",), ("f32", "bf16", "int8"), _openvino),
    "tensorrt": BackendKind(
        "pycuda",
        ("tensorrt", "tensorrt-rtx", "pycuda"),
        ("f32", "f16", "int8"),
        _tensorrt,
        _tensorrt_can_run,
    ),
}
"""The one that needs no extra comes first."""


def open_backend(
    name: BackendName, bundle: Bundle, contract: ModelContract, options: BackendOptions
) -> OpenBackend:
    """Open the backend somebody asked for by name.

    Args:
        bundle: as `in_precision` gives it for the options.
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
    return kind.opened(bundle.model_path, contract, options)


def in_precision(bundle: Bundle, precision: Precision | None) -> Bundle:
    """Return a bundle with the model as the one that is meant that is computed in a precision.

    Raises:
        ModelError: if that is a variant which the bundle does not have.
    """
    return bundle.variant(precision) if precision in ("f16", "int8") else bundle


def precision_for(name: BackendName, bundle: Bundle, asked: Precision | None) -> Precision | None:
    """Return what is asked; if that is nothing, for TensorRT the lowest precision a bundle has."""
    if asked is not None or name != "tensorrt":
        return asked
    lowest_first: tuple[Precision, ...] = ("int8", "f16")
    return next((one for one in lowest_first if one in bundle.variants), "f32")


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
    bundle: Bundle,
    contract: ModelContract,
    options: BackendOptions,
    check: Callable[[Bundle, Backend], None],
) -> OpenBackend:
    """Open what is fastest on this box for a model: see `FastestBackend`.

    Args:
        contract: as the model was published.
        check: raises if a backend does not compute what it should with the model that is meant.
    Raises:
        ConfigError: if nothing that is installed can do what is asked.
        LoomsightError: if the model cannot be vouched for on any backend.
    """
    candidates = _candidates(bundle, options)
    if not candidates:
        raise ConfigError(
            f"No backend that is installed can compute in {options.precision}.",
            f"Leave the setting 'precision' out, or run `{install_extra('openvino')}`.",
        )

    def opener(name: BackendName, precision: Precision | None) -> OpenBackend:
        meant, how = in_precision(bundle, precision), replace(options, precision=precision)
        opened = partial(BACKENDS[name].opened, meant.model_path, contract, how)
        return opened_and_checked(opened, partial(check, meant))

    return FastestBackend(
        {candidate: partial(opener, *how) for candidate, how in candidates.items()},
        (contract.channels, *contract.input_size_hw_px),
        circumstances=partial(
            _circumstances,
            model_digest_of(bundle),
            options,
            {candidate: version_of(name) for candidate, (name, _) in candidates.items()},
        ),
        cache=MeasurementCache(cache_path(os.environ)),
    )


def _candidates(
    bundle: Bundle, options: BackendOptions
) -> dict[CandidateName, tuple[BackendName, Precision | None]]:
    """Return what can be tried: each backend as asked, and in INT8 if a bundle has it and none is asked."""
    names = usable_backends(options)
    candidates: dict[CandidateName, tuple[BackendName, Precision | None]] = {
        name: (name, precision_for(name, bundle, options.precision)) for name in names
    }
    if options.precision is None and "int8" in bundle.variants:
        able = (name for name in names if name != "tensorrt" and "int8" in BACKENDS[name].precisions)
        candidates |= {f"{name} int8": (name, "int8") for name in able}
    return candidates


def _circumstances(
    model_digest: str, options: BackendOptions, runtimes: dict[CandidateName, str], batch: int
) -> Circumstances:
    return Circumstances(
        model_digest=model_digest,
        batch=batch,
        threads=options.threads or available_cores(),
        precision=options.precision,
        providers=options.providers,
        runtimes=runtimes,
        processor=processor_name(),
        nvidia_gpu=nvidia_gpu_present(),
    )

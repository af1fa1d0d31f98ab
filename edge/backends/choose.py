"""Open a backend by name, or the fastest there is; none is imported before that."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

from edge.backends.description import BackendOptions, CandidateName, Precision
from edge.backends.fastest import FastestBackend, opened_and_checked
from edge.backends.measurements import Circumstances, MeasurementCache, cache_path
from edge.backends.probe import available_cores, nvidia_gpu_present, processor_name
from edge.backends.protocol import Backend, OpenBackend
from edge.backends.registry import BACKENDS, BackendName
from edge.bundle.opening import Bundle, model_digest_of
from edge.core.contract import ModelContract
from edge.core.errors import ConfigError
from edge.process.packages import install_module


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
    if options.providers and not kind.has_providers:
        able = " or ".join(other for other in BACKENDS if BACKENDS[other].has_providers)
        raise ConfigError(
            f"The setting 'providers' is not for the backend {name}.", f"Leave it out, or use {able}."
        )
    return kind.opened(bundle.model_path, contract, options)


def in_precision(bundle: Bundle, precision: Precision | None) -> Bundle:
    """Return a bundle with the model as the one that is meant that is computed in a precision.

    Raises:
        ModelError: if that is a variant which the bundle does not have.
    """
    return bundle.variant(precision) if precision in ("f16", "int8") else bundle


def precision_for(name: BackendName, bundle: Bundle, asked: Precision | None) -> Precision | None:
    """Return what is asked; if that is nothing, the lowest one of a bundle where it runs engines."""
    if asked is not None or not BACKENDS[name].runs_engines:
        return asked
    lowest_first: tuple[Precision, ...] = ("int8", "f16")
    return next((one for one in lowest_first if one in bundle.variants), "f32")


def usable_backends(options: BackendOptions) -> list[BackendName]:
    """Return the backends that are installed and can do what is asked, without importing any."""
    return [
        name
        for name, kind in BACKENDS.items()
        if find_spec(kind.package)
        and kind.can_run()
        and (options.precision is None or options.precision in kind.precisions)
    ]


def fastest_backend(
    bundle: Bundle,
    contract: ModelContract,
    options: BackendOptions,
    check: Callable[[Bundle, Backend], None],
) -> OpenBackend:
    """Open what is fastest on this device for a model: see `FastestBackend`.

    Args:
        contract: as the model was published.
        check: raises if a backend does not compute what it should with the model that is meant.
    Raises:
        ConfigError: if nothing that is installed can do what is asked.
        LoomsightError: if the model cannot be vouched for on any backend.
    """
    candidates = _candidates(bundle, options)
    if not candidates:
        raise _nothing_computes_in(options.precision)

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
            {candidate: BACKENDS[name].version for candidate, (name, _) in candidates.items()},
        ),
        cache=MeasurementCache(cache_path(os.environ)),
    )


def _nothing_computes_in(precision: Precision | None) -> ConfigError:
    able = (kind for kind in BACKENDS.values() if precision in kind.precisions)
    missing = (install_module(kind.package) for kind in able if not find_spec(kind.package))
    others = "".join(f", or run `{command}`" for command in list(missing)[:1])
    return ConfigError(
        f"No backend that is installed can compute in {precision}.",
        f"Leave the setting 'precision' out{others}.",
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
        able = (
            name
            for name in names
            if not BACKENDS[name].runs_engines and "int8" in BACKENDS[name].precisions
        )
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

"""Build TensorRT engines for this device, or for others, beyond the published bundle."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edge.backends.probe import nvidia_gpu_present
from edge.backends.tensorrt import NO_GPU, open_device, open_libraries
from edge.backends.tensorrt_build import EngineRequest, build_engine
from edge.backends.tensorrt_engines import (
    LOWEST_FIRST,
    BatchProfile,
    EngineFile,
    EnginePrecision,
    sm_of,
    write_engine,
)
from edge.backends.tensorrt_library import Library, known_capabilities, open_library
from edge.backends.tensorrt_places import TIMING_CACHE, models_of, private_folder
from edge.backends.tensorrt_progress import Observe
from edge.bundle.opening import Bundle, demo_bundle_path, open_bundle
from edge.bundle.store import bundle_path
from edge.core.contract import ModelContract
from edge.core.errors import BackendError, ConfigError
from edge.core.files import check_writable
from edge.process.terminal import echo

logger = logging.getLogger(__name__)

DEFAULT_BATCH: Final = 16
"""As many tiles as `edge-run` gives the network at once."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Say what somebody wants built.

    Attributes:
        model: bundle, store or ONNX file; None for the shipped demo bundle.
        precision: `f32`, `f16` or `int8`; None for the lowest the bundle has.
        batch: most images at once; None for `DEFAULT_BATCH`, or what the model alone takes.
        fixed_batch: always just so many.
        targets: compute capabilities as `sm86` or `8.6`; empty for the GPU of this device.
    """

    model: Path | None = None
    precision: str | None = None
    batch: int | None = None
    fixed_batch: bool = False
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Say what an engine is built for, and by what.

    Attributes:
        gpu: the only kind of GPU it may run on; None where the capability alone decides.
    """

    library: Library
    capability: str
    gpu: str | None


def build_engines(wanted: BuildRequest, say: Callable[[str], object] = echo) -> list[EngineFile]:
    """Build an engine for each target, put it into the user's cache folder, and say where.

    Raises:
        ConfigError: if the request is not one that can be had.
        ModelError, ContractError: if the model cannot be vouched for.
        BackendError: if there is no GPU to build for, or the build fails.
        ImportError: if TensorRT or pycuda is not installed; a command's `main` names the cure.
        OutputError: if the engine cannot be written.
        KeyboardInterrupt: if someone pressed Ctrl-C; nothing half-built stays.
    """
    from edge.inference.model import contract_of

    bundle = open_bundle(bundle_path(wanted.model or demo_bundle_path()))
    contract = contract_of(bundle)
    batch = batch_profile_for(contract, wanted.batch, wanted.fixed_batch)
    precision, model_path = model_for(bundle, wanted.precision)
    targets = named_targets(wanted.targets) if wanted.targets else [_this_device()]
    folder = private_folder(os.environ)
    check_writable(folder)
    built = []
    for target in targets:
        request = EngineRequest(model_path, contract, precision, batch, (target.capability,), target.gpu)
        engine, line = _build(request, target.library, folder)
        say(line)
        built.append(engine)
    return built


def batch_profile_for(contract: ModelContract, batch: int | None, fixed: bool) -> BatchProfile:
    """Return the batch sizes an engine of a model is built for.

    Args:
        contract: of the model; where its batch is fixed, that alone is built for.
    Raises:
        ConfigError: if they are out of range, or not the model's.
    """
    if contract.batch is not None:
        if batch not in (None, contract.batch):
            raise ConfigError(
                f"--batch {batch} is not permitted: the model takes batches of {contract.batch} alone.",
                "Leave --batch out, or export it with `--batch dynamic`.",
            )
        batch, fixed = contract.batch, True
    return batch_profile(batch, fixed)


def batch_profile(batch: int | None, fixed: bool) -> BatchProfile:
    """Return the batch sizes an engine is built for that may take any.

    Raises:
        ConfigError: if they are out of range.
    """
    most = DEFAULT_BATCH if batch is None else batch
    try:
        return BatchProfile(least=most if fixed else 1, usual=most, most=most)
    except ValidationError as error:
        raise ConfigError(f"--batch {most} is not permitted.", f"{error.errors()[0]['msg']}.") from error


def model_for(bundle: Bundle, precision: str | None) -> tuple[EnginePrecision, Path]:
    """Return the ONNX file to build from: of the precision asked for, or the lowest there is.

    Raises:
        ConfigError: if the bundle has no such file.
    """
    models = models_of(bundle)
    found = next((one for one in LOWEST_FIRST if one in models and precision in (None, one)), None)
    if found is None:
        raise ConfigError(
            f"{bundle.path} has no {precision} model.",
            f"It has: {', '.join(one for one in LOWEST_FIRST if one in models)}.",
        )
    return found, models[found]


def capability_of(name: str) -> str:
    """Return `8.6` for `sm86`, `SM86`, `86` or `8.6`.

    Raises:
        ConfigError: if it is no compute capability.
    """
    found = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", name.strip().lower())
    if found is None:
        raise ConfigError(f"--for {name} is no compute capability.", "Write it as sm86 or 8.6.")
    return f"{found[1]}.{found[2]}"


def named_targets(names: Sequence[str]) -> list[Target]:
    """Return compute capabilities to build for without a GPU, with TensorRT-RTX.

    Raises:
        ConfigError: if one is none, or the library does not know it.
        ImportError: if TensorRT-RTX is not installed.
    """
    capabilities = list(dict.fromkeys(capability_of(name) for name in names))
    library = open_library("tensorrt_rtx")
    known = known_capabilities(library)
    for capability in capabilities:
        if capability not in known:
            raise ConfigError(
                f"{library} cannot build for {sm_of(capability)}.",
                f"It knows {', '.join(map(sm_of, known))}.",
            )
    return [Target(library, capability, None) for capability in capabilities]


def _this_device() -> Target:
    if not nvidia_gpu_present():
        raise BackendError(
            NO_GPU,
            "Build on the device that has one, or here for it with tensorrt-rtx: --build --for sm86.",
        )
    gpu = open_device().gpu
    library = next(iter(open_libraries().values()))
    return Target(library, gpu.capability, None if library.is_rtx else gpu.name)


def _build(request: EngineRequest, library: Library, folder: Path) -> tuple[EngineFile, str]:
    """Return an engine and a line about it."""
    target = " ".join([*filter(None, [request.gpu]), *map(sm_of, request.capabilities)])
    what = f"{request.model_path.parent.name}/{request.model_path.name} for {target}"
    logger.info("%s builds %s in batches of %s", library, what, request.batch)
    start_s = time.monotonic()
    with shown_progress(what) as observe:
        timing_cache = None if library.is_rtx else folder / TIMING_CACHE.format(library.version)
        built = build_engine(request, library, observe, timing_cache)
    engine = write_engine(folder, built.engine, built.manifest)
    seconds, mib = time.monotonic() - start_s, len(built.engine) / 2**20
    line = f"{engine.path}: {built.manifest.precision}, {mib:.1f} MiB, built in {seconds:.1f} s"
    return engine, line


@contextmanager
def shown_progress(what: str) -> Iterator[Observe]:
    """Show a bar on stderr while something is built; nothing moves where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    if not bar.console.is_terminal:
        yield lambda fraction, phase: None
        return
    with bar:
        task = bar.add_task(what, total=1.0)
        yield lambda fraction, phase: bar.update(task, completed=fraction, description=f"{what}: {phase}")

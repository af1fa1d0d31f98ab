"""Hide the differences between TensorRT 10.3 to 11 and TensorRT-RTX, which share one API.

Networks are strongly typed everywhere: 10.x wants a flag for it, 11 and RTX know nothing else, so one ONNX
file gives the same network on all. A timing cache exists in TensorRT alone (RTX 1.2 and later warn at it
and do nothing); RTX compiles for the GPU when an engine is loaded and keeps that in a runtime cache. RTX
alone builds for compute capabilities without such a GPU.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from edge.backends.ports import Port
from edge.backends.tensorrt_engines import (
    BatchProfile,
    HardwareCompatibility,
    LibraryName,
    sm_of,
)
from edge.backends.tensorrt_places import is_private
from edge.core.contract import ModelContract
from edge.core.errors import BackendError, OutputError
from edge.core.files import write_whole

logger = logging.getLogger(__name__)

LIBRARIES: Final[tuple[LibraryName, ...]] = ("tensorrt", "tensorrt_rtx")
"""The one for every GPU comes first; RTX serves GeForce and RTX cards from compute capability 7.5 on."""

MOST_KEPT = 50
"""Errors; the first of a build says why, the others follow from it."""

OUT_OF_MEMORY: Final = re.compile(
    r"bad_alloc|out of memory|OutOfMemory|insufficient memory|allocat|temporarily unavailable", re.I
)
"""The last is how Linux says that there is no room for another thread."""


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two libraries, imported.

    Attributes:
        trt: its module.
    """

    name: LibraryName
    trt: Any

    @property
    def version(self) -> str:
        """As in `10.3.0` or `1.7.1.116`."""
        return str(self.trt.__version__)

    @property
    def is_rtx(self) -> bool:
        """Tell TensorRT-RTX from TensorRT."""
        return self.name == "tensorrt_rtx"

    @property
    def logger(self) -> Any:
        """What its builders and runtimes are given to log to."""
        return _logger_of(self.trt)

    @property
    def kept(self) -> KeptErrors:
        """The errors it logged of late."""
        kept: KeptErrors = self.logger.kept
        return kept

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Say where an engine is to run besides on the GPU at hand.

    Attributes:
        version_compatible: also with later minor versions of TensorRT (not RTX).
        hardware: also on other GPUs (not RTX, where compute capabilities are named).
        workspace_mib: most memory of the GPU that a layer may use while it computes; None for all.
    """

    version_compatible: bool = False
    hardware: HardwareCompatibility = "none"
    workspace_mib: int | None = None


def installed_libraries() -> list[LibraryName]:
    """Return the libraries that are installed, without importing any."""
    specs = {name: find_spec(name) for name in LIBRARIES}
    # A mere folder of that name is a namespace package to Python: it has no origin.
    return [name for name, spec in specs.items() if spec is not None and spec.origin]


def open_library(name: LibraryName) -> Library:
    """Import a library.

    Raises:
        ImportError: if it is not installed or cannot be loaded; a command's `main` names the cure.
    """
    try:
        return Library(name, import_module(name))
    except (OSError, RuntimeError) as error:
        raise ImportError(f"{name}: {' '.join(str(error).split())[:200]}", name=name) from error


class KeptErrors:
    """Keep what TensorRT logs as errors, to be said in one line."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MOST_KEPT)

    def add(self, line: str) -> None:
        """Keep one."""
        self._lines.append(line)

    def forget(self) -> None:
        """Start again: what comes now belongs to other work."""
        self._lines.clear()

    @property
    def reason(self) -> str:
        """The first error, without the names of TensorRT's sources."""
        return first_reason(tuple(self._lines))

    @property
    def ran_out_of_memory(self) -> bool:
        """Tell whether any error says so."""
        return any(OUT_OF_MEMORY.search(line) for line in tuple(self._lines))


def first_reason(lines: Sequence[str]) -> str:
    """Return the first of TensorRT's errors as a person would say it; `no reason given` for none."""
    line = " ".join((lines or ["no reason given"])[0].split())
    line = re.sub(r"^(\[\S+?::\S+?::\d+\] )?(I?\w+::\w+: )?(Error Code \d+: )?", "", line)
    line = re.sub(r"\s*\(?In \S+ at \S+?:\d+\)?", "", line)
    return line[:200].rstrip(" .(")


@cache
def _logger_of(trt: Any) -> Any:
    """Make the one logger of a library, so that it writes to nothing else.

    One for the whole process: TensorRT keeps the first that it is given, also past the objects it was given
    for (`nvinfer1::getLogger`).
    """
    errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.kept = KeptErrors()

        def log(self, severity: Any, message: str) -> None:
            if severity in errors:
                self.kept.add(message)
            if severity != trt.ILogger.VERBOSE:
                logger.debug("TensorRT said: %s", message)

    return Logger()


def network_flags(trt: Any) -> int:
    """Return the flags of a strongly typed network."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def known_capabilities(library: Library) -> list[str]:
    """Return the compute capabilities this library builds for without such a GPU: none for TensorRT."""
    members = getattr(getattr(library.trt, "ComputeCapability", None), "__members__", {})
    return [f"{name[2:-1]}.{name[-1]}" for name in members if re.fullmatch(r"SM\d{2,3}", name)]


def set_target(library: Library, config: Any, capabilities: Sequence[str], options: BuildOptions) -> None:
    """Tell a builder configuration which GPUs the engine is for.

    Args:
        capabilities: of those GPUs; TensorRT itself builds for the GPU at hand.
    Raises:
        BackendError: if the library does not know a compute capability or an option.
    """
    if not library.is_rtx:
        _set_compatibility(library.trt, config, options)
        return
    if options.version_compatible or options.hardware != "none":
        raise BackendError(
            "TensorRT-RTX has no engines for other versions or GPUs.", "Name compute capabilities instead."
        )
    known = known_capabilities(library)
    for capability in capabilities:
        if capability not in known:
            raise BackendError(
                f"tensorrt_rtx {library.version} cannot build for {sm_of(capability)}; "
                f"it knows {', '.join(map(sm_of, known))}.",
                "Use tensorrt on a device with that GPU, or name another.",
            )
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(getattr(library.trt.ComputeCapability, sm_of(capability)), index)


def _set_compatibility(trt: Any, config: Any, options: BuildOptions) -> None:
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware != "none":
        level = getattr(trt.HardwareCompatibilityLevel, options.hardware.upper(), None)
        if level is None:  # SAME_COMPUTE_CAPABILITY came with 10.9
            raise BackendError(
                f"TensorRT {trt.__version__} does not know the compatibility {options.hardware}.",
                "Use another.",
            )
        config.hardware_compatibility_level = level


def add_profile(
    builder: Any, config: Any, contract: ModelContract, batch: BatchProfile, network: Any
) -> None:
    """Give the network's input its shapes: the least, the usual and the largest batch.

    Raises:
        BackendError: if the network's batch is fixed and not the one asked for.
    """
    name, tail = contract.outputs.images_port, (contract.channels, *contract.input_size_hw_px)
    fixed, *_ = tuple(network.get_input(0).shape)
    if fixed > 0:
        if (batch.least, batch.most) != (fixed, fixed):
            raise BackendError(
                f"This network takes batches of {fixed} alone.",
                f"Build with --batch {fixed} --fixed-batch.",
            )
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(name, *((size, *tail) for size in (batch.least, batch.usual, batch.most)))
    config.add_optimization_profile(profile)


class TimingCache:
    """How long TensorRT's kernels took in earlier builds, so that a later one is quick; nothing for RTX.

    Args:
        blob: what `serialized` gave before; empty for none.
    """

    def __init__(self, library: Library, config: Any, blob: bytes) -> None:
        self._cache: Any = None
        if library.is_rtx:
            return
        for start in dict.fromkeys((blob, b"")):
            cache = config.create_timing_cache(start)
            if cache is not None and config.set_timing_cache(cache, False):
                self._cache = cache
                return
            logger.info("the timing cache is of another GPU or version and starts again")

    def serialized(self) -> bytes:
        """Return it as bytes to keep; empty for RTX."""
        return b"" if self._cache is None else bytes(memoryview(self._cache.serialize()))


def port_of(library: Library, dtype: Any, shape: Any) -> Port:
    """Return a port from TensorRT's type and shape, where -1 is a length that is not known."""
    lengths = tuple(None if length < 0 else int(length) for length in tuple(shape))
    return Port(str(dtype).removeprefix("DataType.").lower(), dtype == library.trt.float32, lengths)


def load_engine(library: Library, data: bytes, version_compatible: bool) -> tuple[Any, Any]:
    """Load an engine that a digest vouches for.

    Returns:
        The runtime, which has to live as long, and the engine; None for an engine it does not take.
    """
    library.kept.forget()
    runtime = library.trt.Runtime(library.logger)
    if version_compatible:  # such an engine brings the code of its own runtime along
        runtime.engine_host_code_allowed = True
    return runtime, runtime.deserialize_cuda_engine(data)


def create_context(library: Library, engine: Any, cache_path: Path | None, kept: Any) -> tuple[Any, Any]:
    """Make an execution context.

    Args:
        cache_path: file of RTX's runtime cache; None for none.
        kept: the runtime cache of an earlier context of this engine; None for the first.
    Returns:
        The context, None if there is no memory for it, and RTX's runtime cache.
    """
    if not library.is_rtx:
        return engine.create_execution_context(), None
    config = engine.create_runtime_config()
    runtime_cache = kept
    if runtime_cache is None:
        runtime_cache = config.create_runtime_cache()
        blob = cache_path.read_bytes() if cache_path and is_private(cache_path) else b""
        if blob and not runtime_cache.deserialize(blob):
            logger.info("%s is of another driver or version and starts again", cache_path)
    config.set_runtime_cache(runtime_cache)
    strategy = getattr(library.trt, "CudaGraphStrategy", None)  # since 1.2
    if strategy is not None:
        config.cuda_graph_strategy = strategy.WHOLE_GRAPH_CAPTURE
    return engine.create_execution_context(config), runtime_cache


def keep_runtime_cache(cache_path: Path | None, kept: Any) -> None:
    """Write what RTX compiled, for the next start; nothing else depends on it."""
    if cache_path is None or kept is None:
        return
    try:
        write_whole(cache_path, bytes(memoryview(kept.serialize())))
    except OutputError as error:
        logger.warning("the runtime cache is not kept: %s", error.problem)

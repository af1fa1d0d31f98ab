"""Build an engine from an ONNX file, with TensorRT 10.3 to 11 or TensorRT-RTX."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.backends.onnxruntime import read_contract
from edge.backends.ports import Port, check_ports
from edge.backends.tensorrt_engines import (
    BatchProfile,
    EngineManifest,
    EnginePrecision,
    digest_of,
)
from edge.backends.tensorrt_library import (
    BuildOptions,
    KeptErrors,
    Library,
    TimingCache,
    add_profile,
    first_reason,
    network_flags,
    port_of,
    set_target,
)
from edge.backends.tensorrt_progress import Observe, Phases, progress_monitor
from edge.contract import ModelContract
from edge.errors import BackendError, ContractError, LoomsightError, ModelError, OutputError
from edge.interruption import stopped_by_signals
from edge.sinks.files import write_whole

logger = logging.getLogger(__name__)

MEMORY_CURE = "End other programs, or build for a smaller batch."


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Say what to build.

    Attributes:
        model_path: the ONNX file; with Q and DQ nodes for int8, in float16 with float32 ports for fp16.
        contract: must be the one inside the file.
        precision: of that file, for the record: nothing here changes it.
        capabilities: compute capabilities the engine is for, as `8.6`.
        gpu: name of the GPU at hand, which TensorRT builds for; None for TensorRT-RTX.
    """

    model_path: Path
    contract: ModelContract
    precision: EnginePrecision
    batch: BatchProfile
    capabilities: tuple[str, ...]
    gpu: str | None = None
    options: BuildOptions = field(default_factory=BuildOptions)


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """Hold an engine that stands nowhere yet; `tensorrt_engines.write_engine` writes it."""

    engine: bytes
    manifest: EngineManifest


def build_engine(
    request: EngineRequest,
    library: Library,
    observe: Observe = lambda share, phase: None,
    timing_cache: Path | None = None,
) -> BuiltEngine:
    """Build an engine. Ctrl-C ends it at TensorRT's next step; nothing is written but the timing cache.

    Args:
        observe: gets the progress, on another thread.
        timing_cache: file to begin with and to renew; None for none. RTX has none.
    Raises:
        ModelError: if the model is missing, damaged, or has what this library cannot do.
        ContractError: if the model's contract or ports are not those of the request.
        BackendError: if the build fails, for instance for want of memory.
        KeyboardInterrupt: if someone pressed Ctrl-C.
    """
    model = _read(request)
    stop = threading.Event()
    # TensorRT calls back into Python: a KeyboardInterrupt must not be raised there, but here.
    with stopped_by_signals(stop), ThreadPoolExecutor(1, "engine-build") as builder:
        work = builder.submit(_build, request, library, model, Phases(observe), stop, timing_cache)
        try:
            engine = work.result()
        except LoomsightError:
            if not stop.is_set():
                raise
    if stop.is_set():
        raise KeyboardInterrupt
    return BuiltEngine(engine, _manifest(request, library, model, engine))


def _read(request: EngineRequest) -> bytes:
    """Read the ONNX file and see that it is what the request says."""
    inside = read_contract(request.model_path)
    if inside != request.contract:
        raise ContractError(
            f"The contract inside {request.model_path} is not the one of its bundle.",
            "Copy the whole bundle again, or export it again.",
        )
    return request.model_path.read_bytes()


def _manifest(request: EngineRequest, library: Library, model: bytes, engine: bytes) -> EngineManifest:
    return EngineManifest(
        contract=request.contract,
        library=library.name,
        library_version=library.version,
        precision=request.precision,
        gpu=None if library.is_rtx else request.gpu,
        capabilities=request.capabilities,
        batch=request.batch,
        version_compatible=request.options.version_compatible,
        hardware=request.options.hardware,
        source_digest=digest_of(model),
        engine_digest=digest_of(engine),
    )


def _build(
    request: EngineRequest,
    library: Library,
    model: bytes,
    phases: Phases,
    stop: threading.Event,
    timing_cache: Path | None,
) -> bytes:
    """Build on this thread."""
    library.kept.forget()
    try:
        builder = _builder(library)
        network, _parser = _parsed(builder, library, request, model)
        config = builder.create_builder_config()
        if request.options.workspace_mib is not None:
            workspace = library.trt.MemoryPoolType.WORKSPACE
            config.set_memory_pool_limit(workspace, request.options.workspace_mib * 2**20)
        set_target(library, config, request.capabilities, request.options)
        add_profile(builder, config, request.contract, request.batch, network)
        cache = TimingCache(library, config, _stored(timing_cache))
        monitor = progress_monitor(library.trt, phases, stop)
        config.progress_monitor = monitor
        serialized = builder.build_serialized_network(network, config)
        engine = b"" if serialized is None else bytes(memoryview(serialized))
    except MemoryError as error:
        raise _out_of_memory(request.model_path) from error
    if not engine:
        raise _failure(request.model_path, library)
    _keep(timing_cache, cache.serialized())
    return engine


def _builder(library: Library) -> Any:
    try:
        return library.trt.Builder(library.logger)
    except (TypeError, RuntimeError) as error:  # TensorRT without a GPU or driver: pybind11 gets a null
        raise BackendError(
            f"{library} cannot build here: {library.kept.reason}.",
            "TensorRT builds on the box with the GPU alone; tensorrt-rtx builds anywhere with --for.",
        ) from error


def _parsed(builder: Any, library: Library, request: EngineRequest, model: bytes) -> tuple[Any, Any]:
    """Read the network in and see that it has the ports of its contract.

    Returns:
        The network, and the parser, which holds its weights and has to live as long.
    """
    network = builder.create_network(network_flags(library.trt))
    parser = library.trt.OnnxParser(network, library.logger)
    if not parser.parse(model, str(request.model_path)):
        errors = [parser.get_error(number) for number in range(parser.num_errors)]
        raise ModelError(
            f"{library} cannot read {request.model_path}: {parser_reason(errors, library.kept)}.",
            "Export it again with `loomsight export`.",
        )
    check_ports(ports_of(library, network), request.contract, request.model_path)
    return network, parser


def ports_of(library: Library, network: Any) -> dict[str, Port]:
    """Return the ports of a network by name."""
    tensors = [network.get_input(number) for number in range(network.num_inputs)]
    tensors += [network.get_output(number) for number in range(network.num_outputs)]
    return {tensor.name: port_of(library, tensor.dtype, tensor.shape) for tensor in tensors}


def parser_reason(errors: Sequence[Any], kept: KeptErrors) -> str:
    """Return in one line why a model was not accepted, with the node at fault.

    Args:
        errors: TensorRT's `ParserError`s, the first of which says why.
    """
    if not errors:
        return kept.reason
    first = errors[0]
    reason = first_reason([first.desc()])
    name, operator = first.node_name(), first.node_operator()
    return f"{reason} (node {name or 'without a name'}, {operator})" if operator else reason


def _failure(model_path: Path, library: Library) -> BackendError:
    if library.kept.ran_out_of_memory:
        return _out_of_memory(model_path)
    return BackendError(
        f"{library} cannot build an engine of {model_path}: {library.kept.reason}.",
        "Build another precision, or report it.",
    )


def _out_of_memory(model_path: Path) -> BackendError:
    return BackendError(f"Building an engine of {model_path} ran out of memory.", MEMORY_CURE)


def _stored(timing_cache: Path | None) -> bytes:
    try:
        return timing_cache.read_bytes() if timing_cache else b""
    except OSError:
        return b""


def _keep(timing_cache: Path | None, blob: bytes) -> None:
    if timing_cache is None or not blob:
        return
    try:
        write_whole(timing_cache, blob)
    except OutputError as error:
        logger.warning("the timing cache is not kept: %s", error.problem)

"""Build an engine in this process. Everybody but `tensorrt_build` goes through that: see there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.backends.ports import Port, check_ports
from edge.backends.tensorrt_engines import (
    BatchProfile,
    EnginePrecision,
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
from edge.backends.tensorrt_progress import Phases, progress_monitor
from edge.core.contract import ModelContract
from edge.core.errors import BackendError, ModelError, OutputError
from edge.core.files import write_whole

logger = logging.getLogger(__name__)

MEMORY_CURE = "End other programs, or build for a smaller batch."


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Say what to build.

    Attributes:
        model_path: the ONNX file; with Q and DQ nodes for int8, in float16 with float32 ports for f16.
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


def build_here(
    request: EngineRequest,
    library: Library,
    model: bytes,
    phases: Phases,
    is_stopped: Callable[[], bool] = lambda: False,
    timing_cache: Path | None = None,
) -> bytes:
    """Build in this process and thread, which must hear no Ctrl-C: TensorRT calls back into Python.

    Args:
        model: the ONNX file's bytes.
        is_stopped: asked after each step; True ends the build.
        timing_cache: file to begin with and to renew; None for none. RTX has none.
    Returns:
        The engine.
    Raises:
        ModelError: if the model has what this library cannot do.
        ContractError: if its ports are not those of the contract.
        BackendError: if the build fails or is stopped.
    """
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
        monitor = progress_monitor(library.trt, phases, is_stopped)
        config.progress_monitor = monitor
        serialized = builder.build_serialized_network(network, config)
        engine = b"" if serialized is None else bytes(memoryview(serialized))
    except MemoryError as error:
        raise out_of_memory(request.model_path) from error
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
            "TensorRT builds on the device with the GPU alone; tensorrt-rtx builds anywhere with --for.",
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
        return out_of_memory(model_path)
    return BackendError(
        f"{library} cannot build an engine of {model_path}: {library.kept.reason}.",
        "Build another precision, or report it.",
    )


def out_of_memory(model_path: Path) -> BackendError:
    """Say that a build wanted more memory than there is."""
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

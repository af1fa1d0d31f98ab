"""Build an engine from an ONNX file, with TensorRT 10.3 to 11 or TensorRT-RTX, in a process of its own.

A build may take minutes and gigabytes. In its own process it can be ended at any moment, may be killed for
want of memory or crash without taking its parent along, and what the library writes past its logger goes to
no terminal (TensorRT-RTX 1.7 writes to stderr when memory runs out).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from edge.backends.tensorrt_builder import EngineRequest, build_here, out_of_memory
from edge.backends.tensorrt_engines import EngineManifest, LibraryName, digest_of
from edge.backends.tensorrt_library import Library, open_library
from edge.backends.tensorrt_progress import Observe, Phases
from edge.core.errors import BackendError, ContractError, LoomsightError
from edge.process.interruption import left_to_parent, stopped_by_signals

__all__ = ["BuiltEngine", "EngineRequest", "build_engine"]

STOP_S: Final = 5.0
"""So long the build may take to its next step, once it is asked to end; then it is ended."""
LOOK_S: Final = 0.1
NO_MEMORY_EXIT_CODE: Final = 12
"""Of the child, when there is no memory left even to say so (ENOMEM)."""


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """Hold an engine that stands nowhere yet; `tensorrt_engines.write_engine` writes it."""

    engine: bytes
    manifest: EngineManifest


def build_engine(
    request: EngineRequest,
    library: Library,
    observe: Observe = lambda fraction, phase: None,
    timing_cache: Path | None = None,
) -> BuiltEngine:
    """Build an engine. Ctrl-C ends it; nothing is written but the timing cache.

    Args:
        observe: gets the progress.
        timing_cache: file to begin with and to renew; None for none. RTX has none.
    Raises:
        ModelError: if the model is missing, damaged, or has what this library cannot do.
        ContractError: if the model's contract or ports are not those of the request.
        BackendError: if the build fails, for instance for want of memory.
        KeyboardInterrupt: if someone pressed Ctrl-C.
    """
    model = _read(request)
    stop = threading.Event()
    with stopped_by_signals(stop):
        engine = _built_elsewhere(request, library, model, observe, timing_cache, stop)
    if engine is None:
        raise KeyboardInterrupt
    return BuiltEngine(engine, _manifest(request, library, model, engine))


def _read(request: EngineRequest) -> bytes:
    """Read the ONNX file and see that it is what the request says."""
    from edge.backends.onnxruntime import read_contract  # the child process has no need of it

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


def _built_elsewhere(
    request: EngineRequest,
    library: Library,
    model: bytes,
    observe: Observe,
    timing_cache: Path | None,
    stop: threading.Event,
) -> bytes | None:
    """Build in a process of its own; None if it was stopped."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    asked_to_stop = spawn.Event()
    arguments = (theirs, asked_to_stop, request, library.name, model, timing_cache)
    process = spawn.Process(target=_in_the_child, args=arguments, name="engine-build", daemon=True)
    with left_to_parent():
        process.start()
    theirs.close()
    try:
        return _engine_from(ours, process, observe, stop, request.model_path)
    finally:
        asked_to_stop.set()
        process.join(STOP_S)
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()


def _engine_from(
    connection: Connection, process: Any, observe: Observe, stop: threading.Event, model_path: Path
) -> bytes | None:
    """Listen to the child until it has an engine, or an error, or is no more."""
    while not stop.is_set():
        if not connection.poll(LOOK_S):
            continue
        try:
            kind, value = connection.recv()
        except EOFError:
            process.join()
            raise _death(process.exitcode, model_path) from None
        if kind == "progress":
            observe(*value)
        elif kind == "error":
            error, problem, cure = value
            raise error(problem, cure)
        else:
            engine: bytes = value
            return engine
    return None


def _death(exit_code: int, model_path: Path) -> BackendError:
    if exit_code in (NO_MEMORY_EXIT_CODE, -signal.SIGKILL):  # the kernel, short of memory, kills
        return out_of_memory(model_path)
    how = f"by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"
    return BackendError(
        f"TensorRT ended {how} while it built an engine of {model_path}.",
        "Build another precision, or report it.",
    )


def _in_the_child(
    connection: Connection,
    asked_to_stop: Any,
    request: EngineRequest,
    library_name: LibraryName,
    model: bytes,
    timing_cache: Path | None,
) -> None:
    """Build here, and send what comes of it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    parent = os.getppid()

    def is_stopped() -> bool:
        return asked_to_stop.is_set() or os.getppid() != parent

    try:
        phases = Phases(lambda fraction, phase: connection.send(("progress", (fraction, phase))))
        library = open_library(library_name)
        engine = build_here(request, library, model, phases, is_stopped, timing_cache)
        connection.send(("engine", engine))
    except LoomsightError as error:
        connection.send(("error", (type(error), error.problem, error.cure)))
    except MemoryError:
        os._exit(NO_MEMORY_EXIT_CODE)
    except BrokenPipeError:  # the parent is no more
        os._exit(0)

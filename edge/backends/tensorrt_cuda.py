"""Drive the GPU for the TensorRT runner: every call of pycuda is here.

One stream, one execution context and one set of buffers serve one camera; the engine, and the primary
context of the GPU, which all CUDA libraries of a process share, serve all of them. A thread has to push
that context before it calls CUDA: `Device.current` does, for each inference, in whichever thread it comes.

pycuda 2026.1 has no CUDA graphs. TensorRT-RTX records its own; for TensorRT they are recorded through
cuda-python where it is installed (`cuda.bindings`, 12.6 and later), on pycuda's stream.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray

from edge.backends.ports import Port
from edge.backends.tensorrt_buffers import BufferPlan, Run
from edge.backends.tensorrt_engines import REBUILD, EngineFile, Gpu
from edge.backends.tensorrt_library import Library, create_context, keep_runtime_cache, load_engine, port_of
from edge.core.errors import BackendError

logger = logging.getLogger(__name__)

SLOTS = 2
"""Sets of page-locked buffers: one is filled or emptied while the GPU works on the other."""

Floats = NDArray[np.float32]


@contextmanager
def cuda_errors(what: str) -> Iterator[None]:
    """Turn an error of CUDA into one line.

    Raises:
        BackendError: if the work within fails.
    """
    try:
        yield
    except (cuda.MemoryError, MemoryError) as error:
        raise BackendError(
            f"{what}: the GPU's memory is full.", "End other programs, or set a smaller batch_tiles."
        ) from error
    except cuda.Error as error:
        raise BackendError(f"{what}: {' '.join(str(error).split())}.", "Run edge-doctor.") from error


class Device:
    """Hold a GPU with its primary context retained.

    Raises:
        BackendError: if CUDA does not start or there is no such GPU.
    """

    def __init__(self, number: int = 0) -> None:
        with cuda_errors("CUDA does not start"):
            cuda.init()
            device = cuda.Device(number)
            major, minor = device.compute_capability()
            self.gpu = Gpu(name=device.name(), capability=f"{major}.{minor}")
            self._context = device.retain_primary_context()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU's context the one of this thread for a while."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()


class LoadedEngine:
    """An engine on the GPU, shared by the runners made from it; the last one to leave lets go of it.

    Args:
        runtime_cache: file with what TensorRT-RTX compiled at an earlier start; None for none.
    Raises:
        ModelError: if the engine is not what its manifest vouches for.
        BackendError: if TensorRT does not take it.
    """

    def __init__(
        self, device: Device, library: Library, engine_file: EngineFile, runtime_cache: Path | None = None
    ) -> None:
        self.device, self.library, self.file = device, library, engine_file
        self._runtime_cache_path = runtime_cache
        self._runtime_cache: Any = None
        self._users = 0
        self._lock = threading.Lock()
        data = engine_file.read()
        with device.current(), cuda_errors(f"{engine_file.path} does not load"):
            self._runtime, self._engine = load_engine(
                library, data, engine_file.manifest.version_compatible
            )
        if self._engine is None:
            raise BackendError(
                f"{library} does not take {engine_file.path}: {library.kept.reason}.", f"Run {REBUILD}."
            )

    def ports(self) -> dict[str, Port]:
        """Return the engine's ports by name."""
        engine = self._engine
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        return {
            name: port_of(self.library, engine.get_tensor_dtype(name), engine.get_tensor_shape(name))
            for name in names
        }

    def enter(self) -> Any:
        """Count a runner in.

        Returns:
            An execution context of its own.
        Raises:
            BackendError: if there is no memory for it.
        """
        with self._lock:
            context, cache = create_context(
                self.library, self._engine, self._runtime_cache_path, self._runtime_cache
            )
            if context is None:
                raise BackendError(
                    f"TensorRT has no context for {self.file.path}: {self.library.kept.reason}.",
                    "End other programs, or use a smaller batch.",
                )
            self._runtime_cache = cache
            self._users += 1
        return context

    def leave(self) -> None:
        """Count a runner out."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                keep_runtime_cache(self._runtime_cache_path, self._runtime_cache)
                self._runtime_cache = self._engine = self._runtime = None


class _Slot:
    """Page-locked buffers for one run, and the run that is under way in them."""

    def __init__(self, plan: BufferPlan) -> None:
        self.host = {name: cuda.pagelocked_empty(shape, np.float32) for name, shape in plan.shapes.items()}
        self.done = cuda.Event(cuda.event_flags.DISABLE_TIMING)
        self.graph: CudaGraph | None = None
        self.run: Run | None = None


class Runner:
    """Run an engine: copy in, compute, copy out, all queued on one stream. Not for two threads at once.

    Args:
        plan: shapes of the buffers, the input first, then what the network gives.
        sets_shape: the batch is free, so every run has to say how large it is.
    Raises:
        BackendError: if there is no memory for it.
    """

    def __init__(self, loaded: LoadedEngine, plan: BufferPlan, *, sets_shape: bool) -> None:
        self._loaded, self._sets_shape = loaded, sets_shape
        self._images, *self._outputs = plan.shapes
        self._tail = plan.shapes[self._images][1:]
        with loaded.device.current(), cuda_errors("The engine's buffers"):
            self._stream: Any = cuda.Stream()
            self._on_gpu = {
                name: cuda.mem_alloc(int(np.prod(shape)) * 4) for name, shape in plan.shapes.items()
            }
            self._slots = [_Slot(plan) for _ in range(SLOTS)]
            self._context = loaded.enter()
            for name, memory in self._on_gpu.items():
                self._context.set_tensor_address(name, int(memory))
            if not self._context.set_input_shape(self._images, plan.shapes[self._images]):
                self._fail()

    def infer(self, images_nchw: Floats, runs: Sequence[Run], given: Mapping[str, Floats]) -> None:
        """Run the engine over a batch.

        Args:
            images_nchw: (B, C, H, W) float32.
            runs: that cover it, none larger than the buffers.
            given: by the port's name an array of B float32 results, to be filled.
        Raises:
            BackendError: if CUDA or TensorRT fails.
        """
        with self._loaded.device.current(), cuda_errors("Inference failed"):
            try:
                for number, run in enumerate(runs):
                    slot = self._slots[number % SLOTS]
                    self._collect(slot, given)
                    self._fill(slot, run, images_nchw)
                    self._queue(slot, run.size)
                    slot.run = run
                for slot in self._slots:
                    self._collect(slot, given)
            finally:
                if any(slot.run for slot in self._slots):  # after an error: let nothing write on
                    self._stream.synchronize()
                for slot in self._slots:
                    slot.run = None

    def record_graphs(self) -> str | None:
        """Record each set of buffers' run, at its full size, as a CUDA graph. Run once before.

        Returns:
            Why not, in a few words; None if they are recorded.
        """
        size = next(iter(self._slots[0].host.values())).shape[0]
        with self._loaded.device.current(), cuda_errors("A CUDA graph"):
            for slot in self._slots:
                try:
                    slot.graph = CudaGraph(self._stream.handle, partial(self._copy_and_run, slot, size))
                except ImportError:
                    return "CUDA graph: the package cuda-python is not installed"
                except GraphError as error:
                    return f"CUDA graph: {error}"
        return None

    def close(self) -> None:
        """Free what it holds on the GPU. An error there is logged: the run has its own end to tell of."""
        try:
            with self._loaded.device.current():
                self._free()
        except (cuda.Error, GraphError) as error:
            logger.warning("the GPU's memory may not be free: %s", error)

    def _free(self) -> None:
        self._stream.synchronize()
        for slot in self._slots:
            if slot.graph is not None:
                slot.graph.close()
        self._slots.clear()
        for memory in self._on_gpu.values():
            memory.free()
        self._on_gpu.clear()
        self._stream = self._context = None
        self._loaded.leave()

    def _fill(self, slot: _Slot, run: Run, images_nchw: Floats) -> None:
        count = run.stop - run.start
        host = slot.host[self._images]
        np.copyto(host[:count], images_nchw[run.start : run.stop])
        host[count : run.size] = 0

    def _queue(self, slot: _Slot, size: int) -> None:
        if slot.graph is not None:
            slot.graph.launch()
        else:
            self._copy_and_run(slot, size)
        slot.done.record(self._stream)

    def _copy_and_run(self, slot: _Slot, size: int) -> None:
        cuda.memcpy_htod_async(self._on_gpu[self._images], slot.host[self._images][:size], self._stream)
        if self._sets_shape and not self._context.set_input_shape(self._images, (size, *self._tail)):
            self._fail()
        if not self._context.execute_async_v3(self._stream.handle):
            self._fail()
        for name in self._outputs:
            cuda.memcpy_dtoh_async(slot.host[name][:size], self._on_gpu[name], self._stream)

    def _fail(self) -> None:
        raise BackendError(f"Inference failed: {self._loaded.library.kept.reason}.", "Run edge-doctor.")

    def _collect(self, slot: _Slot, given: Mapping[str, Floats]) -> None:
        """Wait for the run under way in a slot, if there is one, and take its results."""
        if slot.run is None:
            return
        slot.done.synchronize()
        run, count = slot.run, slot.run.stop - slot.run.start
        for name in self._outputs:
            given[name][run.start : run.stop] = slot.host[name][:count]
        slot.run = None


class GraphError(Exception):
    """Say why CUDA did not record or launch a graph."""


class CudaGraph:
    """Work on a stream, recorded once and launched as a whole.

    Args:
        stream: handle of the stream the work is queued on.
        queue: queues the work; it is recorded, not run.
    Raises:
        ImportError: without cuda-python.
        GraphError: if CUDA does not record it.
    """

    def __init__(self, stream: int, queue: Callable[[], None]) -> None:
        from cuda.bindings import driver

        self._driver: Any = driver
        self._stream = driver.CUstream(stream)
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._checked(driver.cuStreamBeginCapture(self._stream, mode))
        try:
            queue()
        finally:
            graph = self._checked(driver.cuStreamEndCapture(self._stream))
        self._executable = self._checked(driver.cuGraphInstantiate(graph, 0))
        self._checked(driver.cuGraphDestroy(graph))

    def launch(self) -> None:
        """Queue the recorded work.

        Raises:
            BackendError: if CUDA refuses.
        """
        try:
            self._checked(self._driver.cuGraphLaunch(self._executable, self._stream))
        except GraphError as error:
            raise BackendError(f"Inference failed: {error}.", "Run edge-doctor.") from error

    def close(self) -> None:
        """Let go of the recorded work."""
        self._checked(self._driver.cuGraphExecDestroy(self._executable))

    def _checked(self, result: tuple[Any, ...]) -> Any:
        error, *values = result
        if error != self._driver.CUresult.CUDA_SUCCESS:
            raise GraphError(error.name)
        return values[0] if values else None

"""Run networks through TensorRT or TensorRT-RTX on an NVIDIA GPU, from an engine built before."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.backends.description import PRECISION_NAMES, BackendDescription, BackendOptions, Installed
from edge.backends.probe import nvidia_gpu_present
from edge.backends.provider_start import cure_of
from edge.backends.raw_outputs import answer_of
from edge.backends.registry import BACKENDS
from edge.backends.tensorrt_buffers import best_for, plan_buffers, plan_runs
from edge.backends.tensorrt_engines import (
    REBUILD,
    EngineChoice,
    EngineFile,
    Gpu,
    GpuHost,
    choose_engine,
    sm_of,
)
from edge.backends.tensorrt_library import Library, installed_libraries, open_library
from edge.backends.tensorrt_places import bundle_of, engine_folder, manifests_for, sources_of
from edge.core.contract import ModelContract
from edge.core.errors import BackendError
from edge.core.files import file_digest
from edge.process.packages import install_extra

if TYPE_CHECKING:
    from edge.backends.tensorrt_cuda import Device, LoadedEngine

logger = logging.getLogger(__name__)

NO_GPU: Final = "This device has no NVIDIA GPU whose driver runs."

Floats = NDArray[np.float32]


def open_device() -> Device:
    """Open the GPU.

    Raises:
        BackendError: if there is none, or its driver does not work.
        ImportError: if pycuda is not installed; a command's `main` names the cure.
    """
    if not nvidia_gpu_present():
        others = " or ".join(name for name in BACKENDS if name != TensorRtBackend.name)
        raise BackendError(NO_GPU, f"Use --backend {others}; start a container with `--gpus all`.")
    try:
        from edge.backends.tensorrt_cuda import Device
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        if "libcuda" not in str(error):
            raise
        raise BackendError(f"CUDA does not start: {error}.", cure_of(str(error))) from error
    return Device()


def open_libraries() -> dict[str, Library]:
    """Import those of the two libraries that are installed and load, by name, the preferred one first.

    Raises:
        ImportError: if none is.
    """
    opened: dict[str, Library] = {}
    failures = []
    for name in installed_libraries():
        try:
            opened[name] = open_library(name)
        except ImportError as error:
            logger.warning("%s does not load: %s", name, error)
            failures.append(error)
    if not opened:
        raise (
            failures[0] if failures else ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt")
        )
    return opened


def open_model(model_path: Path, contract: ModelContract, options: BackendOptions) -> TensorRtBackend:
    """Open the backend on a model; its engines settle the precision, and the GPU knows no threads."""
    return TensorRtBackend(model_path, contract)


def installed() -> Installed:
    """Return the versions of what this backend needs, without loading it, and how to have an engine."""
    found = BACKENDS["tensorrt"].versions
    libraries = [name for name in found if name != "pycuda"]
    if not nvidia_gpu_present():
        cure = "Without a GPU it can only build for other devices: --build --for sm86." if libraries else ""
    elif libraries and "pycuda" in found:
        cure = "Build an engine: edge-doctor --build --model BUNDLE."
    else:
        cure = f"{install_extra('tensorrt')} if edge-run --backend tensorrt or auto is to use it."
    return Installed(", ".join(f"{name} {found[name]}" for name in found) or "not installed", cure)


class TensorRtBackend:
    """Run one model through the engine that fits this device best. One per thread.

    Checks the engine's contract, digests, ports and shapes before the first frame. Engines come from the
    bundle of the model and from what `edge-doctor --build` made here; nothing is built in passing.

    Args:
        model_path: the ONNX file the engines are made from.
        contract: what the caller is going to honour; it must be the engine's.
    Raises:
        ModelError: if the model is missing or was changed since it was published.
        ContractError: if the engine's ports are not those of `contract`.
        BackendError: if there is no GPU, no engine that fits, or no memory.
        ImportError: if TensorRT or pycuda is not installed.
    """

    name = "tensorrt"

    def __init__(self, model_path: Path, contract: ModelContract) -> None:
        device = open_device()
        self._libraries = open_libraries()
        choice = _choice(model_path, contract, device.gpu, self._libraries)
        if not choice.fitting:
            raise no_engine(model_path, choice)
        first = choice.fitting[0].manifest
        # Another library is another choice; among these, the batch decides.
        self._engines: Sequence[EngineFile] = [
            engine for engine in choice.fitting if engine.manifest.library == first.library
        ]
        self._skipped = choice.skipped
        self._contract = contract
        self._warm: set[int] = set()
        self._start(self._load(device, choice.fitting[0]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.close()

    def infer(self, images_nchw: Floats) -> tuple[Floats, Floats]:
        """Run the network. A batch larger than the engine's goes through in several runs.

        Args:
            images_nchw: (B, C, H, W) float32, normalised as the contract says.
        Returns:
            boxes (B, A, 4) in input pixels and scores (B, A, classes), float32.
        Raises:
            BackendError: if the images are not what the network takes, or CUDA or TensorRT fails.
        """
        check_images(images_nchw, self._contract)
        runs = plan_runs(len(images_nchw), self._loaded.file.manifest.batch)
        outputs = self._contract.outputs
        given = {
            name: np.empty((len(images_nchw), *self._plan.shapes[name][1:]), np.float32)
            for name in outputs.output_ports
        }
        self._runner.infer(images_nchw, runs, given)
        return answer_of(list(given.values()), outputs)

    def warm_up(self, batch: int) -> None:
        """Run once on noise, so that the first frame does not pay for it; record CUDA graphs.

        The first call settles which engine it is, where several differ in their batch alone.

        Raises:
            BackendError: if that fails, for instance for want of memory.
        """
        best = best_for(batch, self._engines)
        if not self._warm and best.path != self._loaded.file.path:
            self._switch_to(best)
        shape = (batch, self._contract.channels, *self._contract.input_size_hw_px)
        noise = np.random.default_rng(0).random(shape, np.float32)
        self.infer(noise)
        if not self._warm and self._may_record():
            why_not = self._runner.record_graphs()
            if why_not is not None:
                logger.info("TensorRT runs without a %s", why_not)
            self.infer(noise)
        self._warm.add(batch)

    def _may_record(self) -> bool:
        """A graph holds one shape; TensorRT-RTX records its own."""
        return self._loaded.file.manifest.batch.is_fixed and not self._loaded.library.is_rtx

    def _switch_to(self, engine: EngineFile) -> None:
        device = self._loaded.device
        self._runner.close()
        self._start(self._load(device, engine))

    def _load(self, device: Device, engine: EngineFile) -> LoadedEngine:
        from edge.backends.tensorrt_cuda import LoadedEngine

        cache = runtime_cache_path(engine)
        return LoadedEngine(device, self._libraries[engine.manifest.library], engine, cache)

    def _start(self, loaded: LoadedEngine) -> None:
        from edge.backends.tensorrt_cuda import Runner

        manifest = loaded.file.manifest
        self._loaded = loaded
        self._plan = plan_buffers(loaded.ports(), self._contract, manifest.batch, loaded.file.path)
        self._runner = Runner(loaded, self._plan, sets_shape=not manifest.batch.is_fixed)
        gpu = loaded.device.gpu
        self.description = BackendDescription(
            runtime=str(loaded.library),
            device=f"{gpu.name} ({sm_of(gpu.capability)})",
            precision=PRECISION_NAMES[manifest.precision],
            skipped=self._skipped,
        )


def check_images(images_nchw: Floats, contract: ModelContract) -> None:
    """See that images are what the network takes.

    Raises:
        BackendError: if not.
    """
    wanted = (contract.channels, *contract.input_size_hw_px)
    if images_nchw.shape[1:] != wanted or images_nchw.dtype != np.float32:
        raise BackendError(
            f"Inference failed: images are {images_nchw.dtype} {list(images_nchw.shape)}; "
            f"the network takes float32 [B, {', '.join(map(str, wanted))}].",
            "Run edge-doctor.",
        )


def no_engine(model_path: Path, choice: EngineChoice) -> BackendError:
    """Say that no engine fits, and why each that is there does not."""
    reasons = f" ({'; '.join(choice.skipped)})" if choice.skipped else ""
    return BackendError(
        f"There is no engine of {model_path} for this GPU{reasons}.", f"Build one: `{REBUILD} --model ...`."
    )


def runtime_cache_path(engine: EngineFile) -> Path | None:
    """Return the file of what TensorRT-RTX compiles of an engine; None where there is no cache folder."""
    folder = engine_folder(os.environ)
    return folder / f"{engine.manifest.stem}.runtime" if folder else None


def _choice(
    model_path: Path,
    contract: ModelContract,
    gpu: Gpu,
    libraries: dict[str, Library],
) -> EngineChoice:
    bundle = bundle_of(model_path)
    digest = file_digest(model_path)
    sources = {digest: sources_of(bundle).get(digest)}
    versions = {library.name: library.version for library in libraries.values()}
    return choose_engine(manifests_for(bundle, os.environ), GpuHost(gpu, versions, contract, sources))

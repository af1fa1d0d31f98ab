"""Runtimes that a model can be timed on: a function for each, all of the same form."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from edge.backends.onnx_session import session_options
from edge.backends.provider_start import CPU
from edge.core.errors import BackendError
from edge.process.packages import missing_package

RuntimeName = Literal["onnxruntime", "openvino", "tensorrt"]

Floats = NDArray[np.float32]
Run = Callable[[Floats], Any]
"""Run a model once on (B, C, H, W) and wait for what it gives."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Open models on one runtime.

    Attributes:
        version: of the package.
        opened: from an ONNX model of one input to a function that runs it.
    """

    version: str
    opened: Callable[[bytes], Run]


def runtime_of(name: RuntimeName, threads: int) -> Runtime:
    """Make a runtime ready.

    Args:
        threads: for one inference, on the processor.
    Raises:
        MissingPackageError: if its package is not installed.
        BackendError: if it needs a device that is not there.
    """
    return RUNTIMES[name](threads)


def _onnxruntime(threads: int) -> Runtime:
    def opened(model: bytes) -> Run:
        session = onnxruntime.InferenceSession(model, session_options(threads), providers=[CPU])
        port = session.get_inputs()[0].name
        return lambda images: session.run(None, {port: images})

    return Runtime(onnxruntime.__version__, opened)


def _openvino(threads: int) -> Runtime:
    openvino = _imported("openvino")
    from edge.backends.openvino import compile_settings
    from edge.backends.signal_stack import signal_stack_kept

    core = openvino.Core()
    settings = compile_settings("f32", threads)

    def opened(model: bytes) -> Run:
        with signal_stack_kept():
            compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
        request = compiled.create_infer_request()
        return lambda images: request.infer([images], share_inputs=True, share_outputs=True)

    return Runtime(openvino.__version__.split("-")[0], opened)


def _tensorrt(_threads: int) -> Runtime:
    """Time on an NVIDIA GPU, copies to and from it included; untested: it was written without one."""
    tensorrt = _imported("tensorrt")
    if not torch.cuda.is_available():
        raise BackendError("TensorRT needs an NVIDIA GPU.", "Choose --runtime onnxruntime or openvino.")
    log = tensorrt.Logger(tensorrt.Logger.ERROR)

    def opened(model: bytes) -> Run:
        builder = tensorrt.Builder(log)
        network = builder.create_network(0)
        parser = tensorrt.OnnxParser(network, log)
        if not parser.parse(model):
            raise BackendError(f"TensorRT cannot read the model: {parser.get_error(0)}.", "Export it anew.")
        config, profile = builder.create_builder_config(), builder.create_optimization_profile()
        entering = network.get_input(0)
        shape = (1, *tuple(entering.shape)[1:])
        profile.set_shape(entering.name, shape, shape, shape)
        config.add_optimization_profile(profile)
        engine = tensorrt.Runtime(log).deserialize_cuda_engine(
            builder.build_serialized_network(network, config)
        )
        cuda: Any = torch.cuda
        context, stream = engine.create_execution_context(), cuda.Stream()
        context.set_input_shape(entering.name, shape)
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        ports = {name: torch.empty(tuple(context.get_tensor_shape(name)), device="cuda") for name in names}
        for name, tensor in ports.items():
            context.set_tensor_address(name, tensor.data_ptr())

        def run(images: Floats) -> list[torch.Tensor]:
            with cuda.stream(stream):
                ports[entering.name].copy_(torch.from_numpy(images))
                context.execute_async_v3(stream.cuda_stream)
                return [tensor.cpu() for name, tensor in ports.items() if name != entering.name]

        return run

    return Runtime(tensorrt.__version__, opened)


RUNTIMES: Mapping[RuntimeName, Callable[[int], Runtime]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
}


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_package(error) from error

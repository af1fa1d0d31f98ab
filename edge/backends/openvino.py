"""Run networks through OpenVINO, on the processor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from typing_extensions import Self

from edge.backends.description import (
    PRECISION_NAMES,
    BackendDescription,
    BackendOptions,
    Installed,
    Precision,
)
from edge.backends.model_file import checked_model_bytes
from edge.backends.ports import Port, check_ports
from edge.backends.probe import permits_bfloat16, processor_features, threads_for
from edge.backends.proof import prove
from edge.backends.provider_start import catch_output
from edge.backends.raw_outputs import answer_of, in_batches_of
from edge.backends.signal_stack import signal_stack_kept
from edge.core.contract import METADATA_KEY, ModelContract, contract_from_json
from edge.core.errors import BackendError, ContractError, ModelError

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]


def open_model(model_path: Path, contract: ModelContract, options: BackendOptions) -> OpenVinoBackend:
    """Prove the model in a process of its own, then open the backend on it."""
    prove(model_path)
    return OpenVinoBackend(model_path, contract, options.precision, options.threads)


def installed() -> Installed:
    """Return version and devices."""
    try:
        devices = ", ".join(ov.Core().available_devices) or "no devices"
    except RuntimeError as error:
        devices = " ".join(str(error).split())[:200]
    return Installed(f"{ov.__version__.split('-')[0]}: {devices}")


def usual_precision() -> Precision:
    """Return what OpenVINO computes in unless told otherwise.

    bfloat16 where the processor multiplies it in tiles. Without AMX it is no faster, or slower: 79 ms for
    56 ms, YOLOv5s at 256 px on one thread of a Xeon that has avx512_bf16 alone.
    """
    return "bf16" if "amx_bf16" in processor_features() and permits_bfloat16() else "f32"


class OpenVinoBackend:
    """Run one model. Checks names, types and shapes against the contract before the first frame.

    A batch size that was warmed up has a network of its own: a fixed size is 8 to 20 % faster than a free
    one (the demo bundle at batch 9 and 1, one thread). Other sizes share one.

    Args:
        model_path: the ONNX file.
        contract: what the caller is going to honour; it must be the one inside the file.
        precision: to compute in; None for `usual_precision()`. The weights stay those of the file. With
            `int8` the file is the INT8 variant, and `usual_precision()` is for the layers left out of it.
        threads: for one inference; None for as many as there are cores.
    Raises:
        ModelError: if the file is missing or is not an ONNX model.
        ContractError: if the file's contract or ports are not those of `contract`.
        BackendError: if OpenVINO cannot make the model ready.
    """

    name = "openvino"

    def __init__(
        self,
        model_path: Path,
        contract: ModelContract,
        precision: Precision | None = None,
        threads: int | None = None,
    ) -> None:
        wanted = precision if precision in ("f32", "bf16") else usual_precision()
        core = ov.Core()
        model = _read_model(core, model_path)
        inside = _contract_of(model, model_path)
        if inside != contract:
            raise ContractError(
                f"The contract inside {model_path} is not the one of its bundle.",
                "Copy the whole bundle again, or export it again.",
            )
        check_ports(_ports(model), contract, model_path)
        self._ports, self._batch = contract.outputs, contract.batch
        self._input_shape = (contract.channels, *contract.input_size_hw_px)
        self._settings = compile_settings(wanted, threads)
        self._core, self._model, self._model_path = core, model, model_path
        compiled = _compiled(core, model, model_path, self._settings)
        self._any_batch: Any = compiled.create_infer_request()
        self._warm: dict[int, Any] = {}
        got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.description = BackendDescription(
            runtime=f"openvino {ov.__version__.split('-')[0]}",
            device=", ".join(compiled.get_property("EXECUTION_DEVICES")),
            precision="int8" if precision == "int8" else PRECISION_NAMES.get(got, got),
            skipped=() if got == wanted else (f"{wanted}: not on this processor",),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._any_batch = self._core = self._model = None
        self._warm.clear()

    def infer(self, images_nchw: Floats) -> tuple[Floats, Floats]:
        """Run the network.

        Args:
            images_nchw: (B, C, H, W) float32, normalised as the contract says.
        Returns:
            boxes (B, A, 4) in input pixels and scores (B, A, classes), float32.
        Raises:
            BackendError: if the images are not what the network takes, or the runtime fails, for instance
                for want of memory.
        """
        self._check_input(images_nchw)
        request = self._warm.get(len(images_nchw), self._any_batch)
        try:
            given = in_batches_of(self._batch, partial(self._run, request), images_nchw)
        except RuntimeError as error:
            raise BackendError(f"Inference failed: {first_line(error)}.", "Run edge-doctor.") from error
        return answer_of(given, self._ports)

    def warm_up(self, batch: int) -> None:
        """Compile for a batch size and run once on noise, so that the first frame does not pay for it.

        Raises:
            BackendError: if that fails, for instance for want of memory.
        """
        if batch not in self._warm and self._model.inputs[0].partial_shape[0].is_dynamic:
            fixed = self._model.clone()
            fixed.reshape({self._ports.images_port: [batch, *self._input_shape]})
            compiled = _compiled(self._core, fixed, self._model_path, self._settings)
            self._warm[batch] = compiled.create_infer_request()
        noise = np.random.default_rng(0).random((batch, *self._input_shape), np.float32)
        self.infer(noise)

    def _run(self, request: Any, images_nchw: Floats) -> Sequence[Floats]:
        results = request.infer([images_nchw], share_inputs=True)
        return [results[name] for name in self._ports.output_ports]

    def _check_input(self, images_nchw: Floats) -> None:
        """OpenVINO itself takes images of another size without a word (seen in 2026.4)."""
        if images_nchw.shape[1:] != self._input_shape or images_nchw.dtype != np.float32:
            raise BackendError(
                f"Inference failed: images are {images_nchw.dtype} {list(images_nchw.shape)}; "
                f"the network takes float32 [B, {', '.join(map(str, self._input_shape))}].",
                "Run edge-doctor.",
            )


def compile_settings(precision: Precision, threads: int | None) -> dict[str, Any]:
    """Return the settings every model here is compiled with: one inference at a time, as soon as possible.

    Args:
        precision: to compute in.
        threads: for one inference; None for as many as there are cores.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads_for(threads),
        "INFERENCE_PRECISION_HINT": precision,
        # Pinned threads stand in the way of capture and preprocessing, and of a second camera's process.
        "ENABLE_CPU_PINNING": False,
    }


def first_line(error: Exception) -> str:
    """Return the line of an OpenVINO error that says what happened: it begins with lines of its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling or lines or ["no reason given"])[0][:700].rstrip(" .")


def _read_model(core: Any, model_path: Path) -> Any:
    checked_model_bytes(model_path)
    with catch_output() as caught:  # readers of other formats print when they do not know the file
        try:
            return with_barriers(core.read_model(str(model_path)))
        except RuntimeError as error:
            reason = first_line(error)
            raise ModelError(
                f"{model_path} cannot be read as an ONNX model: {reason}.",
                "Export it again with `loomsight export`.",
            ) from error
        finally:
            logger.debug("OpenVINO said: %s", caught.text)


def with_barriers(model: Any) -> Any:
    """Keep OpenVINO from moving the quantisation of joined maps to before they are joined.

    It then takes signed values for unsigned ones and cuts off what is negative: a YOLOv5n in INT8 fell from
    0.41 to 0.28 mAP50 (OpenVINO 2026.4, measured). A pooling of 1 x 1 in between, which changes nothing,
    stops it: 0.40.

    Args:
        model: as it was read; it is changed in place.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Concat":
            continue
        joined = node.output(0)
        readers = list(joined.get_target_inputs())
        if any(reader.get_node().get_type_name() == "FakeQuantize" for reader in readers):
            one, none = [1, 1], [0, 0]
            barrier = ov.opset8.max_pool(joined, one, one, none, none, one)
            for reader in readers:
                reader.replace_source_output(barrier.output(0))
    return model


def _compiled(core: Any, model: Any, model_path: Path, settings: dict[str, Any]) -> Any:
    try:
        with signal_stack_kept():
            return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise BackendError(
            f"OpenVINO cannot make {model_path} ready: {first_line(error)}.",
            "Use --backend onnxruntime.",
        ) from error


def _contract_of(model: Any, model_path: Path) -> ModelContract:
    where = ["framework", METADATA_KEY]
    if not model.has_rt_info(where):
        raise ContractError(
            f"{model_path} carries no loomsight contract, so nobody knows its classes and preprocessing.",
            "Export the checkpoint with `loomsight export`.",
        )
    return contract_from_json(model.get_rt_info(where).astype(str), str(model_path))


def _ports(model: Any) -> dict[str, Port]:
    return {
        name: Port(
            port.element_type.get_type_name(),
            port.element_type == ov.Type.f32,
            tuple(_lengths(port.partial_shape)),
        )
        for port in [*model.inputs, *model.outputs]
        for name in port.get_names()
    }


def _lengths(partial_shape: Any) -> list[int | None]:
    """Return the lengths of a shape's axes; None for one that is not known."""
    return [axis.get_length() if axis.is_static else None for axis in partial_shape]

"""Inference through ONNX Runtime."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Timer
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state
from typing_extensions import Self

from edge.backends.description import BackendDescription, BackendName
from edge.backends.fixed_batch import in_batches_of
from edge.backends.memory_guard import bytes_for, memory_limited
from edge.backends.model_file import checked_model_bytes
from edge.backends.ports import Port, check_ports
from edge.backends.probe import nvidia_gpu_present, threads_for
from edge.backends.provider_start import CPU, CUDA, catch_output, cure_of, preload_cuda, reason_in
from edge.contract import METADATA_KEY, ModelContract, contract_from_json
from edge.errors import BackendError, ContractError, ModelError
from edge.raw_outputs import answer_of

logger = logging.getLogger(__name__)

PROVIDER_ORDER = (CUDA, CPU)
"""Best first. TensorRT through ONNX Runtime is left out: an engine of the project's own is faster and is
checked against the contract."""

ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    value
    for value in vars(onnxruntime_pybind11_state).values()
    if isinstance(value, type) and issubclass(value, Exception)
)
"""What ONNX Runtime raises; its exceptions have no common base of their own."""

START_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, RuntimeError, ValueError)
"""What may come out of a provider's start besides."""

PROOF_ERRORS: tuple[type[Exception], ...] = (*START_ERRORS, TypeError, MemoryError, OSError)
"""What a damaged file may raise: text that is none is a ValueError."""

PROOF_S = 15.0
"""A network that has not inspected one input by then has a loop without end, or is none for this device."""

LONGEST_REASON = 700
"""Characters. The longest that is known says which opset is understood, at its very end."""

CURE = "Export it again with `loomsight export`."
NEWER_CURE = "Update ONNX Runtime on this device, or export it again with this version of loomsight."

Answer = TypeVar("Answer")

IDENTITY_MODEL = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201695a0f0a0178120a0a0808011204"
    "0a020801620f0a0179120a0a08080112040a02080142040a00100d"
)
"""The smallest network there is: y = x, one float32, opset 13."""

Floats = NDArray[np.float32]


def read_contract(model_path: Path) -> ModelContract:
    """Read the contract out of an ONNX file's metadata.

    Raises:
        ModelError: if the file is missing or is not an ONNX model.
        ContractError: if it carries no contract, or one that cannot be honoured.
    """
    session = _open_session(model_path, [CPU], threads=1)
    return _readable(_contract_of, session, model_path)


class OnnxRuntimeBackend:
    """Run one model. Checks names, types and shapes against the contract before the first frame.

    Args:
        model_path: the ONNX file.
        contract: what the caller is going to honour; it must be the one inside the file.
        providers: in order of preference; None for `PROVIDER_ORDER`.
        threads: for one inference; None for as many as there are cores.
        precision: that the file's arithmetic is in, for the description.
    Raises:
        ModelError: if the file is missing or is not an ONNX model.
        ContractError: if the file's contract or ports are not those of `contract`.
        BackendError: if no provider can be used.
    """

    name: BackendName = "onnxruntime"

    def __init__(
        self,
        model_path: Path,
        contract: ModelContract,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        precision: str = "float32",
    ) -> None:
        chosen, passed_over = choose_providers(providers or PROVIDER_ORDER)
        self._session, not_started = _start_session(model_path, chosen, threads)
        inside = _readable(_contract_of, self._session, model_path)
        if inside != contract:
            raise ContractError(
                f"The contract inside {model_path} is not the one of its bundle.",
                "Copy the whole bundle again, or export it again.",
            )
        check_ports(_readable(_ports, self._session, model_path), contract, model_path)
        self._ports, self._batch = contract.outputs, contract.batch
        self._input_shape = (contract.channels, *contract.input_size_hw_px)
        self.description = BackendDescription(
            runtime=f"onnxruntime {ort.__version__}",
            device=self._session.get_providers()[0],
            precision=precision,
            passed_over=(*passed_over, *not_started),
        )
        self._prove(contract, model_path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._session = None

    def infer(self, images_nchw: Floats) -> tuple[Floats, Floats]:
        """Run the network.

        Args:
            images_nchw: (B, C, H, W) float32, normalised as the contract says.
        Returns:
            boxes (B, A, 4) in input pixels and scores (B, A, classes), float32.
        Raises:
            BackendError: if the runtime fails, for instance for want of memory.
        """
        try:
            given = in_batches_of(self._batch, self._run, images_nchw)
        except ORT_ERRORS as error:
            raise BackendError(f"Inference failed: {error}.", "Run edge-doctor.") from error
        return answer_of(given, self._ports)

    def warm_up(self, batch: int) -> None:
        """Run once on noise, so that the first frame does not pay for memory and kernel selection."""
        noise = np.random.default_rng(0).random((batch, *self._input_shape), np.float32)
        self.infer(noise)

    def _run(self, images_nchw: Floats, options: Any = None) -> Sequence[Floats]:
        given: Sequence[Floats] = self._session.run(
            list(self._ports.output_ports), {self._ports.images_port: images_nchw}, options
        )
        return given

    def _prove(self, contract: ModelContract, model_path: Path) -> None:
        """Run the network once on one input, with limits on time and memory: it may have loops without end.

        Raises:
            ModelError: if it fails, or does not come to an end.
            ContractError: if it does not give what its contract says.
        """
        black = np.zeros((self._batch or 1, *self._input_shape), np.float32)
        options = ort.RunOptions()
        options.log_severity_level = 4
        timer = Timer(PROOF_S, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            with memory_limited(bytes_for(model_path.stat().st_size, contract.input_size_hw_px)):
                given = self._run(black, options)
                boxes, scores = answer_of(given, self._ports)
        except PROOF_ERRORS as error:
            late = (
                f"it has not come to an end after {PROOF_S:g} s" if options.terminate else reason_of(error)
            )
            raise ModelError(f"{model_path} does not run: {late}.", CURE) from error
        finally:
            timer.cancel()
        if boxes.shape[:1] != scores.shape[:1] or boxes.ndim != 3 or boxes.shape[1] != scores.shape[1]:
            raise ContractError(
                f"{model_path} gives {list(boxes.shape)} boxes and {list(scores.shape)} scores.",
                "The contract belongs to another model: export it again.",
            )


def choose_providers(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Pick, in order of preference, the providers this box can use.

    Returns:
        Those to use, and for each other one a reason why not.
    Raises:
        BackendError: if none is left.
    """
    available = ort.get_available_providers()
    chosen, passed_over = [], []
    for name in wanted:
        if name not in available:
            passed_over.append(f"{name}: not in this build of ONNX Runtime")
        elif name == CUDA and not nvidia_gpu_present():
            passed_over.append(f"{name}: no NVIDIA GPU")
        else:
            chosen.append(name)
    if not chosen:
        raise BackendError(
            f"No inference provider can be used ({'; '.join(passed_over)}).",
            f"This box has: {', '.join(available)}.",
        )
    return chosen, passed_over


def why_cuda_does_not_start() -> str | None:
    """Start CUDA on the smallest network.

    Returns:
        The reason why not, in one line; None if it starts.
    """
    with catch_output() as caught:
        preload_cuda()
        try:
            session = ort.InferenceSession(IDENTITY_MODEL, session_options(1), providers=[CUDA])
        except START_ERRORS as error:
            return reason_in(f"EP Error {error} when using {CUDA}")
    return None if CUDA in session.get_providers() else reason_in(caught.text)


def _start_session(model_path: Path, chosen: list[str], threads: int | None) -> tuple[Any, list[str]]:
    """Open a session and say of each chosen provider that did not start why not.

    Raises:
        BackendError: if none of them did: ONNX Runtime would run on the processor unasked.
    """
    if chosen == [CPU]:
        return _open_session(model_path, chosen, threads), []
    with catch_output() as caught:
        if CUDA in chosen:
            preload_cuda()
        session = _open_session(model_path, chosen, threads)
    logger.debug("ONNX Runtime said: %s", caught.text)
    failed = [name for name in chosen if name not in session.get_providers()]
    reason = reason_in(caught.text)
    if len(failed) == len(chosen):
        raise BackendError(f"{', '.join(failed)} does not start: {reason}.", cure_of(reason))
    if failed:
        logger.warning("%s does not start: %s. %s", ", ".join(failed), reason, cure_of(reason))
    return session, [f"{name}: {reason}" for name in failed]


def session_options(threads: int | None) -> Any:
    """Return the settings every session here runs with.

    Args:
        threads: for one inference; None for as many as there are cores.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads_for(threads)
    options.log_severity_level = 4
    # Threads that spin between two inferences take the cores from capture and preprocessing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open_session(model_path: Path, providers: list[str], threads: int | None) -> Any:
    size_bytes = checked_model_bytes(model_path)
    try:
        with memory_limited(bytes_for(size_bytes, (0, 0))):
            return ort.InferenceSession(str(model_path), session_options(threads), providers=providers)
    except PROOF_ERRORS as error:
        reason = reason_of(error)
        is_newer = "IR version" in reason or "opset" in reason
        raise ModelError(
            f"{model_path} cannot be read as an ONNX model: {reason}.", NEWER_CURE if is_newer else CURE
        ) from error


def reason_of(error: Exception) -> str:
    """Return what ONNX Runtime says of a failure, without the places in its sources that come first."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^Load model from .*? failed: ?", "", text)
    text = re.sub(r"^/\S+\.(?:cc|h):\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? ", "", text)
    return text[:LONGEST_REASON].rstrip(" .")


def _readable(read: Callable[[Any, Path], Answer], session: Any, model_path: Path) -> Answer:
    """Read names or metadata out of a session; those of a damaged file may be no text.

    Raises:
        ModelError: if they are not.
    """
    try:
        return read(session, model_path)
    except PROOF_ERRORS as error:
        raise ModelError(f"{model_path} is damaged: it holds names that are no text.", CURE) from error


def _contract_of(session: Any, model_path: Path) -> ModelContract:
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ContractError(
            f"{model_path} carries no loomsight contract, so nobody knows its classes and preprocessing.",
            "Export the checkpoint with `loomsight export`.",
        )
    return contract_from_json(metadata[METADATA_KEY], str(model_path))


def _ports(session: Any, model_path: Path) -> dict[str, Port]:
    found = [*session.get_inputs(), *session.get_outputs()]
    return {port.name: Port(port.type, port.type == "tensor(float)", tuple(port.shape)) for port in found}

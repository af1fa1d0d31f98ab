"""Run networks through ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from typing_extensions import Self

from edge.backends.description import PRECISION_NAMES, BackendDescription, BackendOptions, Installed
from edge.backends.onnx_session import (
    ORT_ERRORS,
    START_ERRORS,
    contract_of,
    open_session,
    ports_of,
    readable,
    session_options,
)
from edge.backends.ports import check_ports
from edge.backends.probe import nvidia_gpu_present
from edge.backends.proof import prove
from edge.backends.provider_start import CPU, CUDA, catch_output, cure_of, preload_cuda, reason_in
from edge.backends.raw_outputs import answer_of, in_batches_of
from edge.core.contract import ModelContract
from edge.core.errors import BackendError, ContractError

logger = logging.getLogger(__name__)

PROVIDER_ORDER = (CUDA, CPU)
"""Best first. TensorRT through ONNX Runtime is left out: an engine of the project's own is faster and is
checked against the contract."""

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
    prove(model_path)
    session = open_session(model_path, [CPU], threads=1)
    return readable(contract_of, session, model_path)


def open_model(model_path: Path, contract: ModelContract, options: BackendOptions) -> OnnxRuntimeBackend:
    """Open the backend on a model."""
    precision = PRECISION_NAMES[options.precision or "f32"]
    return OnnxRuntimeBackend(model_path, contract, options.providers or None, options.threads, precision)


def installed() -> Installed:
    """Return version and providers."""
    return Installed(f"{ort.__version__}: {', '.join(ort.get_available_providers())}")


class OnnxRuntimeBackend:
    """Run one model. Checks names, types and shapes against the contract before the first frame.

    Args:
        model_path: the ONNX file.
        contract: what the caller is going to honour; it must be the one inside the file.
        providers: in order of preference; None for `PROVIDER_ORDER`.
        threads: for one inference; None for as many as there are cores.
        precision: that the file's arithmetic is in, for the description.
    Raises:
        ModelError: if the file is missing, is not an ONNX model, or does not stand its proof; see `prove`.
        ContractError: if the file's contract or ports are not those of `contract`.
        BackendError: if no provider can be used.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model_path: Path,
        contract: ModelContract,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        precision: str = "float32",
    ) -> None:
        chosen, skipped = choose_providers(providers or PROVIDER_ORDER)
        prove(model_path)
        self._session, not_started = _start_session(model_path, chosen, threads)
        inside = readable(contract_of, self._session, model_path)
        if inside != contract:
            raise ContractError(
                f"The contract inside {model_path} is not the one of its bundle.",
                "Copy the whole bundle again, or export it again.",
            )
        check_ports(readable(ports_of, self._session, model_path), contract, model_path)
        self._ports, self._batch = contract.outputs, contract.batch
        self._input_shape = (contract.channels, *contract.input_size_hw_px)
        self.description = BackendDescription(
            runtime=f"onnxruntime {ort.__version__}",
            device=self._session.get_providers()[0],
            precision=precision,
            skipped=(*skipped, *not_started),
        )

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

    def _run(self, images_nchw: Floats) -> Sequence[Floats]:
        given: Sequence[Floats] = self._session.run(
            list(self._ports.output_ports), {self._ports.images_port: images_nchw}
        )
        return given


def choose_providers(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Pick, in order of preference, the providers this device can use.

    Returns:
        Those to use, and for each other one a reason why not.
    Raises:
        BackendError: if none is left.
    """
    available = ort.get_available_providers()
    chosen, skipped = [], []
    for name in wanted:
        if name not in available:
            skipped.append(f"{name}: not in this build of ONNX Runtime")
        elif name == CUDA and not nvidia_gpu_present():
            skipped.append(f"{name}: no NVIDIA GPU")
        else:
            chosen.append(name)
    if not chosen:
        raise BackendError(
            f"No inference provider can be used ({'; '.join(skipped)}).",
            f"This device has: {', '.join(available)}.",
        )
    return chosen, skipped


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
        return open_session(model_path, chosen, threads), []
    with catch_output() as caught:
        if CUDA in chosen:
            preload_cuda()
        session = open_session(model_path, chosen, threads)
    logger.debug("ONNX Runtime said: %s", caught.text)
    failed = [name for name in chosen if name not in session.get_providers()]
    reason = reason_in(caught.text)
    if len(failed) == len(chosen):
        raise BackendError(f"{', '.join(failed)} does not start: {reason}.", cure_of(reason))
    if failed:
        logger.warning("%s does not start: %s. %s", ", ".join(failed), reason, cure_of(reason))
    return session, [f"{name}: {reason}" for name in failed]

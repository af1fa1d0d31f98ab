"""Configure, open and read sessions of ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state

from edge.backends.ports import Port
from edge.backends.probe import threads_for
from edge.backends.provider_start import CPU
from edge.core.contract import METADATA_KEY, ModelContract, contract_from_json
from edge.core.errors import ContractError, ModelError

ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    value
    for value in vars(onnxruntime_pybind11_state).values()
    if isinstance(value, type) and issubclass(value, Exception)
)
"""What ONNX Runtime raises; its exceptions have no common base of their own."""

START_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, RuntimeError, ValueError)
"""What may come out of a provider's start besides."""

OPEN_ERRORS: tuple[type[Exception], ...] = (*START_ERRORS, TypeError, MemoryError, OSError)
"""What a damaged file may raise: text that is none is a ValueError."""

EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
"""Key of ONNX Runtime: where a network's weights may lie that are not in its own file."""

LONGEST_REASON = 700
"""Characters. The longest that is known says which opset is understood, at its very end."""

CURE = "Export it again with `loomsight export`."
NEWER_CURE = "Update ONNX Runtime on this device, or export it again with this version of loomsight."

Answer = TypeVar("Answer")


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


def open_session(model_path: Path, providers: list[str], threads: int | None) -> Any:
    """Open a network from its file.

    Raises:
        ModelError: if ONNX Runtime cannot read it.
    """
    return _opened(model_path, str(model_path), session_options(threads), providers)


def open_session_of(data: bytes, model_path: Path) -> Any:
    """Open a network from the bytes of its file, and from no other file, on one thread of the processor.

    Raises:
        ModelError: if ONNX Runtime cannot read it, or it has weights in other files.
    """
    options = session_options(1)
    options.add_session_config_entry(EXTERNAL_FOLDER, str(model_path))  # no folder, so nothing is in it
    return _opened(model_path, data, options, [CPU])


def _opened(model_path: Path, model: str | bytes, options: Any, providers: list[str]) -> Any:
    try:
        return ort.InferenceSession(model, options, providers=providers)
    except OPEN_ERRORS as error:
        raise ModelError(
            f"{model_path} cannot be read as an ONNX model: {(reason := reason_of(error))}.",
            cure_for(reason),
        ) from error


def cure_for(reason: str) -> str:
    """Return what to do about a file that ONNX Runtime refuses."""
    if "External data" in reason:
        return "Save the network with its weights in one file: export it again with `loomsight export`."
    return NEWER_CURE if "IR version" in reason or "opset" in reason else CURE


def reason_of(error: Exception) -> str:
    """Return what ONNX Runtime says of a failure, without the places in its sources that come first."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^Load model from .*? failed: ?", "", text)
    text = re.sub(r"^/\S+\.(?:cc|h):\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? ", "", text)
    return text[:LONGEST_REASON].rstrip(" .")


def readable(read: Callable[[Any, Path], Answer], session: Any, model_path: Path) -> Answer:
    """Read names or metadata out of a session; those of a damaged file may be no text.

    Raises:
        ModelError: if they are not.
    """
    try:
        return read(session, model_path)
    except OPEN_ERRORS as error:
        raise ModelError(f"{model_path} is damaged: it holds names that are no text.", CURE) from error


def contract_of(session: Any, model_path: Path) -> ModelContract:
    """Return the contract in a network's metadata.

    Raises:
        ContractError: if it carries none, or one that cannot be honoured.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ContractError(
            f"{model_path} carries no loomsight contract, so nobody knows its classes and preprocessing.",
            "Export the checkpoint with `loomsight export`.",
        )
    return contract_from_json(metadata[METADATA_KEY], str(model_path))


def ports_of(session: Any, model_path: Path) -> dict[str, Port]:
    """Return a network's inputs and outputs by name."""
    found = [*session.get_inputs(), *session.get_outputs()]
    return {port.name: Port(port.type, port.type == "tensor(float)", tuple(port.shape)) for port in found}

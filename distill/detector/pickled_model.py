"""Read weights out of a pickled model of another project, without running its code.

A .pt file of YOLOv5 or ultralytics is a pickle of module objects. torch's own restricted reader
(`weights_only`) rebuilds the tensors; the classes it names become empty shells that hold attributes and do
nothing. A file that names anything else is refused before it is read as objects.
"""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.core.tensor_file import check_archive
from edge.core.errors import CheckpointError

SHELL_ROOTS = frozenset(
    {"models", "utils", "ultralytics", "torch", "torchvision", "numpy", "pathlib", "datetime"}
)
"""Packages whose classes such files name. None is imported for it: `models.yolo.Model` is only a name."""

SHELL_NAMES = frozenset({"argparse.Namespace", "types.SimpleNamespace"})

PLAIN_MODULES = frozenset({"torch", "torch._utils", "torch.storage", "collections", "_codecs"})
PLAIN_NAMES = frozenset({"collections.OrderedDict", "_codecs.encode", "__builtin__.set", "builtins.set"})
"""What tensors and containers are made of; torch's reader knows which of it is harmless."""

UNREADABLE = (
    OSError, RuntimeError, ValueError, TypeError, LookupError, EOFError, AttributeError, AssertionError,
    MemoryError, OverflowError, zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip


class Shell:
    """Stand for an object of a class that is not here: attributes and nothing else."""

    def __init__(self, *_: Any) -> None:
        pass

    def __new__(cls, *_: Any) -> Any:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update({name: value for name, value in state.items() if isinstance(name, str)})


def holds_objects(path: Path) -> bool:
    """Tell whether a file of `torch.save` names more than tensors and containers, as ours never do."""
    try:
        return path.is_file() and any(module not in PLAIN_MODULES for module, _ in _names_in(path))
    except UNREADABLE:
        return False


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return parameters and buffers of the model in a file, by name; the moving average's if it has one.

    Raises:
        CheckpointError: if the file cannot be read, asks for code to be run, or holds no model.
    """
    try:
        check_archive(path)
        names = set(_names_in(path))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    for module, name in sorted(names):
        if not _is_harmless(module, name):
            raise CheckpointError(
                f"{path} wants to call {module}.{name}, which no weights need; it was not loaded.",
                "Get the file from its maker again; do not open it with other programs.",
            )
    try:
        with torch.serialization.safe_globals([set, *_shells(names)]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    tensors = dict(_tensors_of(_model_in(content), "", set()))
    if not tensors:
        raise CheckpointError(
            f"{path} holds no model of YOLOv5 or ultralytics.", "Name a file such as yolov5s.pt."
        )
    return tensors


def _names_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of everything that the pickle in a file names; nothing of it is run."""
    with zipfile.ZipFile(path) as archive:
        inner = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        for operation, argument, _ in pickletools.genops(archive.read(inner)):
            if operation.name == "GLOBAL":
                module, name = str(argument).split(" ", 1)
                yield module, name
            elif operation.name in {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}:
                raise pickle.UnpicklingError(f"it uses {operation.name}, which torch.save does not write")


def _is_harmless(module: str, name: str) -> bool:
    full = f"{module}.{name}"
    return module.split(".")[0] in SHELL_ROOTS or full in SHELL_NAMES or full in PLAIN_NAMES


def _shells(names: set[tuple[str, str]]) -> list[type]:
    """Make an empty class for each name; what torch's reader knows itself, it takes from itself."""
    return [
        type(name, (Shell,), {"__module__": module, "__qualname__": name})
        for module, name in names
        if f"{module}.{name}" not in PLAIN_NAMES
    ]


def _model_in(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return content.get("model") if content.get("ema") is None else content["ema"]


def _tensors_of(module: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Walk the modules that a shell holds, as `state_dict` would; a file may hold one within itself."""
    if not isinstance(module, Shell) or id(module) in seen:
        return
    seen.add(id(module))
    held = vars(module)
    for kind in ("_parameters", "_buffers"):
        for name, value in _items(held.get(kind)):
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value.detach()
    for name, child in _items(held.get("_modules")):
        yield from _tensors_of(child, f"{prefix}{name}.", seen)


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _unreadable(path: Path, error: BaseException) -> CheckpointError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = (lines[0] if lines else type(error).__name__)[:200].rstrip(".:")
    return CheckpointError(f"{path} cannot be read ({said}).", "Copy it again.")

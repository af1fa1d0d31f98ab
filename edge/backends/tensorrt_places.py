"""Locate engine files, and refuse those that nobody vouches for.

In a bundle, under engines/, the bundle's own digests do. Beyond it, in the user's cache folder, engines lie
that this device built (`edge-doctor --build`): a published bundle must not change. They are taken only if
nobody but this user, or the system, could have written them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edge.backends.measurements import cache_path
from edge.backends.tensorrt_engines import ENGINE_SUFFIX, MANIFEST_SUFFIX, EnginePrecision
from edge.bundle.manifest import MANIFEST_NAME, MODEL_NAME
from edge.bundle.opening import Bundle, open_bundle
from edge.core.errors import BackendError
from edge.core.files import file_digest

ENGINES_FOLDER: Final = "engines"
TIMING_CACHE: Final = "timing-{}.cache"
"""With the version of TensorRT."""

MODEL_NAMES: Final[Mapping[EnginePrecision, str]] = {
    "f32": MODEL_NAME,
    "f16": "model.f16.onnx",
    "int8": "model.int8.onnx",
}
"""The ONNX files of a bundle."""


def engine_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of the engines this device built, which need not exist.

    Args:
        environment: usually `os.environ`.
    Returns:
        None where there is no cache folder, as for a service without a home.
    """
    beside = cache_path(environment)
    return beside.parent / ENGINES_FOLDER if beside else None


def bundle_of(model_path: Path) -> Bundle:
    """Open the bundle an ONNX file belongs to, with every digest checked; a file of no bundle is its own.

    Raises:
        ModelError, ContractError: as `open_bundle`.
    """
    if model_path.name in MODEL_NAMES.values() and (model_path.parent / MANIFEST_NAME).is_file():
        return open_bundle(model_path.parent)
    return Bundle(model_path, model_path, None)


def models_of(bundle: Bundle) -> dict[EnginePrecision, Path]:
    """Return the ONNX files of a bundle by precision; a bare ONNX file stands for f32."""
    if bundle.manifest is None:
        return {"f32": bundle.model_path}
    return {
        precision: bundle.path / name
        for precision, name in MODEL_NAMES.items()
        if name in bundle.manifest.files
    }


def sources_of(bundle: Bundle) -> dict[str, EnginePrecision | None]:
    """Return the precision of each ONNX file by its sha256; None for a bare file, which may be any."""
    if bundle.manifest is None:
        return {file_digest(bundle.model_path): None}
    files = bundle.manifest.files
    return {files[name]: precision for precision, name in MODEL_NAMES.items() if name in files}


def manifests_for(bundle: Bundle, environment: Mapping[str, str]) -> list[Path]:
    """Return the manifests of the engines that somebody vouches for: this device's own come first."""
    return [*_own(engine_folder(environment)), *_published(bundle)]


def is_private(path: Path) -> bool:
    """Tell whether nobody but this user and the system could have written a file, or put it there."""
    try:
        found = [path.stat(), path.parent.stat()]
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    return all(one.st_uid in (os.getuid(), 0) and not one.st_mode & others for one in found)


def private_folder(environment: Mapping[str, str]) -> Path:
    """Make the folder of this device's engines, for this user alone to write.

    Raises:
        BackendError: if there is no cache folder.
        OSError: if it cannot be made.
    """
    folder = engine_folder(environment)
    if folder is None:
        raise BackendError(
            "There is no folder to keep engines in: neither HOME nor XDG_CACHE_HOME names one.",
            "Set XDG_CACHE_HOME to an absolute path.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    return folder


def _own(folder: Path | None) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.glob(f"*{MANIFEST_SUFFIX}"))
        if is_private(path) and is_private(path.with_suffix(ENGINE_SUFFIX))
    ]


def _published(bundle: Bundle) -> list[Path]:
    if bundle.manifest is None:
        return []
    files = bundle.manifest.files
    return [
        bundle.path / name
        for name in sorted(files)
        if name.startswith(f"{ENGINES_FOLDER}/")
        and name.endswith(MANIFEST_SUFFIX)
        and name.removesuffix(MANIFEST_SUFFIX) + ENGINE_SUFFIX in files
    ]

"""Write and read arrays in an `.npz`: plainly, within limits and without pickles."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import ModelError
from edge.core.outside_files import read_bytes

ARRAYS_BYTES: Final = 128 * 2**20
"""Most bytes of the file, and of its arrays unpacked."""

MOST_ARRAYS: Final = 256
CURE: Final = "Copy the whole article file again, or teach the article again."

Arrays = dict[str, NDArray[np.generic]]


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays of numbers.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if an array is not of numbers, booleans or text.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "fiubU":
            raise ValueError(f"{name} is of {array.dtype}, which cannot be written without a pickle")
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> Arrays:
    """Read arrays of numbers, all finite.

    Raises:
        ModelError: if the file is missing, damaged, too large, or holds anything else.
    """
    data = read_bytes(path, ARRAYS_BYTES, ModelError, CURE)
    try:
        _check_size(data)
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelError(f"{path} cannot be read: {error}.", CURE) from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(f"{path} holds numbers that are not finite: {name}.", CURE)
    return arrays


def _check_size(data: bytes) -> None:
    """Refuse an archive that would unpack to more than is read.

    Raises:
        ValueError, zipfile.BadZipFile: if it would, or is none.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    if len(members) > MOST_ARRAYS or sum(member.file_size for member in members) > ARRAYS_BYTES:
        raise ValueError("it unpacks to more than an article needs")

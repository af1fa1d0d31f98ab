"""Write files of tensors and primitives, whole or not at all, and read them without running code."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from edge.core.errors import OutputError

UNREADABLE = (
    OSError, RuntimeError, ValueError, KeyError, EOFError, AttributeError, pickle.UnpicklingError,
    zipfile.BadZipFile, zlib.error, struct.error, IndexError, TypeError, MemoryError,
)  # fmt: skip
"""What reading a damaged file, or one of something else, raises."""


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and primitives under a temporary name, flush them to disk, then rename.

    Raises:
        OutputError: if that is not possible; what stood at `path` stays.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as stream:
            torch.save(dict(content), stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write {path}: {first_line(error)}.", "Free space, or choose another --out."
        ) from error


def read_tensors(path: Path) -> Any:
    """Read what `write_tensors` wrote.

    Raises:
        UNREADABLE: one of these, if the file is damaged or something else.
    """
    check_archive(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def check_archive(path: Path) -> None:
    """See that a file is a whole archive of `torch.save`, and holds no more than its length says.

    torch.save does not compress: an archive that grows when it is read is made to fill the memory.

    Raises:
        UNREADABLE: one of these, if it is damaged or something else.
    """
    if not zipfile.is_zipfile(path):  # torch.load would also try older, plainer kinds of pickle
        raise pickle.UnpicklingError("it is not of the kind that torch.save writes")
    with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise pickle.UnpicklingError("it is compressed, as torch.save writes none")
        damaged = archive.testzip()
    if damaged is not None:
        raise pickle.UnpicklingError(f"the checksum of {damaged} is wrong")


def bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    """Return how many bytes tensors take when each element is written out, whatever they share."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def first_line(error: Exception) -> str:
    """Return what an error says, short enough for one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".:")

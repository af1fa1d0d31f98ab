"""Open files that others wrote: regular ones only, up to a limit of bytes, and text as UTF-8.

Every file that this program did not write itself is opened here. A FIFO or a device would hang the reader
or never end, and a file without a limit fills the memory.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.core.errors import ConfigError, LoomsightError

SETTINGS_BYTES = 4 * 2**20
"""Most bytes of a file of settings, a password, a token, a manifest or a taxonomy."""

LABELS_BYTES = 512 * 2**20
"""Most bytes of a file of labels. The greatest one of COCO 2017 has 470 MB."""

IMAGE_BYTES = 512 * 2**20
"""Most bytes of an image file: more than an uncompressed colour image of the most pixels has."""

MODEL_BYTES = 2 * 2**30
"""Most bytes of a model: an ONNX file, a protobuf message, cannot be longer."""

CHUNK_BYTES = 1 << 20

STREAM_BYTES = 1 << 13
"""Buffer of a stream. Python asks the system for one, and whether it is a terminal, if none is named."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""In this order: that of UTF-32 begins with that of UTF-16."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_outside(
    path: Path, most_bytes: int, error: type[LoomsightError] = ConfigError, cure: str = "Check the path."
) -> BinaryIO:
    """Open a regular file for reading, without waiting for anything.

    Args:
        path: of the file; a symbolic link is followed.
        most_bytes: a longer file is refused. One that grows meanwhile is the reader's to limit.
        error: what is raised.
        cure: what to do where the file is not there, or not readable.
    Raises:
        LoomsightError: `error`, if there is no such file, it may not be read, is not regular or too long.
    """
    descriptor, _ = _opened(path, most_bytes, error, cure)
    return os.fdopen(descriptor, "rb", buffering=STREAM_BYTES)


def read_bytes(
    path: Path, most_bytes: int, error: type[LoomsightError] = ConfigError, cure: str = "Check the path."
) -> bytes:
    """Read a file whole; see `open_outside`.

    Raises:
        LoomsightError: `error`, also if a read fails or the file grows beyond the limit.
    """
    descriptor, expected = _opened(path, most_bytes, error, cure)
    try:
        data = _read_up_to(descriptor, expected, most_bytes + 1)
    except OSError as reason:
        raise error(f"Cannot read {path}: {reason_of(reason)}.", cure) from reason
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise _too_long(path, most_bytes, error)
    return data


def read_text(
    path: Path,
    most_bytes: int = SETTINGS_BYTES,
    error: type[LoomsightError] = ConfigError,
    cure: str = "Check the path.",
) -> str:
    """Read a text file whole; see `read_bytes` and `decoded_text`.

    Raises:
        LoomsightError: `error`, also if it is not UTF-8.
    """
    return decoded_text(read_bytes(path, most_bytes, error, cure), str(path), error)


def decoded_text(data: bytes, name: str, error: type[LoomsightError] = ConfigError) -> str:
    """Decode UTF-8, without the byte order mark that Windows puts before it, and with \\n at line ends.

    Args:
        data: the file.
        name: what to call it.
        error: what is raised.
    Raises:
        LoomsightError: `error`, if it is anything else; the message names the likely encoding.
    """
    wide = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if wide is None and b"\0" in data:
        wide = "UTF-16 without a byte order mark" if _looks_like_utf16(data) else None
        if wide is None:
            raise error(
                f"{name} holds zero bytes: it is not text.", "Check the path, or copy the file again."
            )
    if wide is not None:
        raise error(f"{name} is text in {wide}, and not in UTF-8.", _SAVE_AS_UTF8)
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as reason:
        line = reason.object[: reason.start].count(b"\n") + 1
        byte = reason.object[reason.start]
        raise error(
            f"{name} is not in UTF-8: line {line} holds the byte 0x{byte:02X}; it looks like "
            f"{_likely_encoding(data)}.",
            _SAVE_AS_UTF8,
        ) from reason
    return text.replace("\r\n", "\n").replace("\r", "\n")


_SAVE_AS_UTF8 = "Save it as UTF-8: in Notepad by 'Save as', else with `iconv -f ENCODING -t UTF-8`."


def files_below(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """Walk through a folder and the folders below it, in no order.

    Raises:
        ConfigError: if it is the whole file system, as of `$FOLDER/` without a folder: hours, for nothing.
    """
    if folder.resolve() == Path(folder.resolve().anchor):
        raise ConfigError(f"{folder} is the whole file system.", "Name the folder that is meant.")
    return folder.rglob(pattern)


def reason_of(error: Exception) -> str:
    """Return what the system gives as the reason of an error."""
    return getattr(error, "strerror", None) or str(error)


def _opened(path: Path, most_bytes: int, error: type[LoomsightError], cure: str) -> tuple[int, int]:
    """Return a descriptor of a regular file, and how long the file is; see `open_outside`.

    It is looked at before, as opening alone moves some devices, and after: it may be another one by then.
    """
    try:
        _check_kind(path, path.stat(), most_bytes, error)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError as reason:
        raise error(f"There is no file {path}.", cure) from reason
    except (OSError, ValueError) as reason:  # ValueError: a name with a zero byte
        raise error(f"Cannot read {path}: {reason_of(reason)}.", cure) from reason
    try:
        found = os.fstat(descriptor)
        _check_kind(path, found, most_bytes, error)
    except LoomsightError:
        os.close(descriptor)
        raise
    return descriptor, found.st_size


def _read_up_to(descriptor: int, expected: int, most_bytes: int) -> bytes:
    """Read to the end of a file, or `most_bytes`; one read may return less than is there.

    Args:
        descriptor: of the file, at its beginning.
        expected: its length; more follows if it grew, or the kernel makes it up and says 0.
        most_bytes: a longer file is cut there.
    """
    data = os.read(descriptor, max(expected + 1, STREAM_BYTES))  # some files of the kernel give all at once
    if len(data) == expected:  # and not one byte of those more that were asked for: the end
        return data
    pieces, left = [data], most_bytes - len(data)
    while left > 0 and pieces[-1]:
        pieces.append(os.read(descriptor, min(left, CHUNK_BYTES)))
        left -= len(pieces[-1])
    return b"".join(pieces)


def _check_kind(path: Path, found: os.stat_result, most_bytes: int, error: type[LoomsightError]) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "no file")
        raise error(
            f"{path} is {kind}, and not a regular file.", "Name a file; copy a stream into one first."
        )
    if found.st_size > most_bytes:
        raise _too_long(path, most_bytes, error)


def _too_long(path: Path, most_bytes: int, error: type[LoomsightError]) -> LoomsightError:
    mib = most_bytes / 2**20
    return error(
        f"{path} is longer than {mib:g} MiB, the most that is read.", "Check that it is the right file."
    )


def _looks_like_utf16(data: bytes) -> bool:
    """Tell whether every other byte of a text is mostly zero and those between are not: Latin letters."""
    head = data[: 1 << 12]
    few, many = sorted((head[0::2].count(0), head[1::2].count(0)))
    return many > 0.4 * len(head) / 2 and few < 0.1 * len(head) / 2


def _likely_encoding(data: bytes) -> str:
    """Guess what a text that is not UTF-8 is written in: in GBK bytes above 0x7F come in pairs."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return "Windows-1252 (Latin-1)"
    paired = sum(run for run in runs if run > 1)
    return "GBK (GB 18030)" if paired > sum(runs) / 2 else "Windows-1252 (Latin-1)"


def check_private(file: Path, setting: str) -> None:
    """Refuse a file with a secret that others may read or replace.

    It belongs to who runs this and is closed to all others, or to root, who may let a group read it.

    Args:
        file: as the setting names it.
        setting: that names it, for the message.
    Raises:
        ConfigError: if it is missing, is no regular file, belongs to somebody else, or is open to others.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {error.strerror or error}.", f"Check {setting}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{setting} {file} is no regular file.", "Name a file.")
    mode, own = stat.S_IMODE(status.st_mode), os.geteuid()
    if status.st_uid not in (own, 0):
        raise ConfigError(
            f"{setting} {file} belongs to another user (number {status.st_uid}), who can change it.",
            f"Run `chown {own} {file} && chmod 600 {file}`.",
        )
    if mode & (0o077 if status.st_uid == own else 0o037):
        raise ConfigError(
            f"Others may read {setting} {file} (mode {mode:04o}).", f"Run `chmod 600 {file}`."
        )

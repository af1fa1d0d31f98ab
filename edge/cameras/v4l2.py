"""Ask the kernel what a video device can deliver: formats, sizes and rates, by Video4Linux2."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

QUERYCAP: Final = 0x80685600
ENUM_FMT: Final = 0xC0405602
ENUM_FRAMESIZES: Final = 0xC02C564A
ENUM_FRAMEINTERVALS: Final = 0xC034564B
"""Requests of linux/videodev2.h, with the sizes of their structures in them."""

VIDEO_CAPTURE: Final = 0x1
"""Of the capabilities of a node, and the type of buffer that formats are listed for."""

DISCRETE: Final = 1
"""Of sizes and intervals that are listed one by one."""

MOST_ENTRIES: Final = 64
"""Of one list: a driver that never ends its list must not keep the doctor."""

Ioctl = Callable[[int, int, bytearray], object]


class Mode(NamedTuple):
    """One format and its largest size, with the fastest rate at that size; 0 where it is not known."""

    pixel_format: str
    width_px: int
    height_px: int
    frames_hz: float

    def __str__(self) -> str:
        rate = f" at {self.frames_hz:g} frames/s" if self.frames_hz else ""
        return f"{self.pixel_format} up to {self.width_px} x {self.height_px} px{rate}"


class VideoDevice(NamedTuple):
    """What a node says of itself; no modes: it delivers no images (metadata, an output)."""

    card: str
    modes: tuple[Mode, ...]


def video_device(path: Path, ioctl: Ioctl = fcntl.ioctl) -> VideoDevice:
    """Return what a node can deliver.

    Raises:
        OSError: if it cannot be opened or does not answer.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = bytearray(104)
        ioctl(descriptor, QUERYCAP, answer)
        card = bytes(answer[16:48]).split(b"\0")[0].decode(errors="replace")
        (capabilities,) = struct.unpack_from("I", answer, 88)
        if not capabilities & VIDEO_CAPTURE:
            return VideoDevice(card, ())
        return VideoDevice(card, tuple(_modes(descriptor, ioctl)))
    finally:
        os.close(descriptor)


def _modes(descriptor: int, ioctl: Ioctl) -> Iterator[Mode]:
    for index in range(MOST_ENTRIES):
        entry = bytearray(64)
        struct.pack_into("II", entry, 0, index, VIDEO_CAPTURE)
        if not _answers(descriptor, ENUM_FMT, entry, ioctl):
            return
        code = bytes(entry[44:48])
        width, height = max(
            _sizes(descriptor, code, ioctl), default=(0, 0), key=lambda size: size[0] * size[1]
        )
        rate = max(_rates(descriptor, code, width, height, ioctl), default=0.0)
        yield Mode(code.decode("ascii", errors="replace").strip(), width, height, rate)


def _sizes(descriptor: int, code: bytes, ioctl: Ioctl) -> Iterator[tuple[int, int]]:
    for index in range(MOST_ENTRIES):
        entry = bytearray(44)
        struct.pack_into("I4s", entry, 0, index, code)
        if not _answers(descriptor, ENUM_FRAMESIZES, entry, ioctl):
            return
        (kind, *numbers) = struct.unpack_from("7I", entry, 8)
        if kind != DISCRETE:  # least, greatest and step of the width, then of the height
            yield numbers[1], numbers[4]
            return
        yield numbers[0], numbers[1]


def _rates(descriptor: int, code: bytes, width: int, height: int, ioctl: Ioctl) -> Iterator[float]:
    for index in range(MOST_ENTRIES):
        entry = bytearray(52)
        struct.pack_into("I4sII", entry, 0, index, code, width, height)
        if not _answers(descriptor, ENUM_FRAMEINTERVALS, entry, ioctl):
            return
        kind, numerator, denominator = struct.unpack_from("3I", entry, 16)
        if numerator:
            yield round(denominator / numerator, 2)
        if kind != DISCRETE:
            return


def _answers(descriptor: int, request: int, entry: bytearray, ioctl: Ioctl) -> bool:
    """Fill an entry of a list; False at its end."""
    try:
        ioctl(descriptor, request, entry)
    except OSError:
        return False
    return True

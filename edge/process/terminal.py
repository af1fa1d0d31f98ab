"""Open standard streams that take every text: names that they cannot spell, closed or full streams."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from contextlib import suppress
from typing import Final, TextIO

STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""In the order of their descriptors."""

ESCAPES: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"
}
"""Control characters, and how they are printed: raw ones, in the name of a file, drive a terminal."""


def printable(text: str) -> str:
    """Return a text with its control characters spelt out; tabs and line ends stay."""
    return text.translate(ESCAPES)


def json_text(value: object) -> str:
    """Return a value as JSON that people read: names as they are, control characters spelt out."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text.translate({code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)})


def as_cell(text: str) -> str:
    """Return a text for rich without markup or control characters: a file may be called `[red]x[/red]`."""
    from rich.markup import escape

    return escape(printable(text))


class PlainFormatter(logging.Formatter):
    """Format log records without raw control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return printable(super().format(record))


def have_standard_streams() -> None:
    """Make stdin, stdout and stderr usable whatever the program was started with.

    One that is closed leads to the null device: otherwise the next file that is opened, a database for
    instance, would get its descriptor, and with it what a library prints. A character that a stream cannot
    spell is written as its number.
    """
    for descriptor, (name, mode) in enumerate(STREAMS):
        _have_descriptor(descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # a descriptor that was exchanged behind the stream's back
                stream.reconfigure(errors="backslashreplace")


def silence(stream: TextIO) -> None:
    """Lead a stream that cannot be written to the null device, or Python complains of it at its end."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def echo(text: str, *, err: bool = False) -> None:
    """Print what a command has to say, on stdout or stderr, without raw control characters.

    Raises:
        OSError: if the stream takes no more.
    """
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{printable(text)}\n")
    stream.flush()


def say(line: str) -> None:
    """Write a line to stderr; where that cannot be, what says it goes on without it."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        silence(sys.stderr)


def _have_descriptor(descriptor: int) -> None:
    """Open the null device on a descriptor that is closed; those below it are open."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)

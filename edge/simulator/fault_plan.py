"""Parse what goes wrong with the camera of a simulated loom, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

FaultName = Literal[
    "unplugged",
    "silent",
    "frozen",
    "wrong size",
    "half empty",
    "black",
    "stop",
    "reverse",
    "lamp out",
    "dim",
    "blurred",
    "lint",
]
"""The camera is gone; it gives nothing; it repeats an image; its frames are half as wide; their lower half
is empty; they are black. At a stop it is the loom that stands, in reverse the cloth runs back over so
many blocks and then forward again, and the camera is well. The others are troubles of the optics."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Say what goes wrong from which frame on, and for the time of how many frames."""

    name: FaultName
    first: int
    frames: int


def parse_faults(text: str | None) -> tuple[Fault, ...]:
    """Read `unplugged@40:30+frozen@120:50`: a name, the first frame, how many frames.

    Raises:
        ValueError: if it is not of that form.
    """
    return tuple(_parsed(part) for part in text.split("+")) if text else ()


def _parsed(part: str) -> Fault:
    match = re.fullmatch(r"([a-z _-]+)@(\d+):(\d+)", part.strip())
    name = re.sub(r"[_-]", " ", match[1]) if match else ""
    for known in get_args(FaultName):
        if match and name == known:
            return Fault(known, int(match[2]), int(match[3]))
    raise ValueError(f"'{part}' is no fault, such as frozen@40:30")

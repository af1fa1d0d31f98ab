"""What a backend is told, and what it says about itself: for logs, summaries, benchmarks, edge-doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Precision = Literal["f32", "bf16", "f16", "int8"]
"""What a backend may be told to compute in. float32 and bfloat16 are computed from the model itself,
float16 and INT8 from a variant of it that the bundle has to hold."""

CandidateName = str
"""Names a backend and, where it is not its usual one, the precision: `openvino`, `openvino int8`."""


PRECISION_NAMES: Final[Mapping[str, str]] = {
    "f32": "float32", "bf16": "bfloat16", "f16": "float16", "int8": "int8",
}  # fmt: skip
"""What a `BackendDescription` calls them."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Say how to run a network, whatever runs it.

    Attributes:
        providers: of ONNX Runtime, in order of preference; empty for its built-in order.
        precision: to compute in; None for the default on this processor, and for `fastest_backend` also
            for the INT8 variant where a bundle has one.
        threads: of one inference; None for as many as there are cores.
    """

    providers: tuple[str, ...] = ()
    precision: Precision | None = None
    threads: int | None = None


class Installed(NamedTuple):
    """Say what is installed of a backend.

    Attributes:
        detail: versions, devices.
        cure: what to do about what is missing; empty where nothing is to be done.
    """

    detail: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class BackendDescription:
    """Name what inference runs on.

    Attributes:
        runtime: for instance `onnxruntime 1.31.1`.
        device: for instance `CPUExecutionProvider`.
        precision: it computes in: `float32`, `bfloat16`, `float16`, `int8`.
        skipped: what was tried before or asked for, each with the reason it was not taken.
    """

    runtime: str
    device: str
    precision: str
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        passed = f" (skipped: {'; '.join(self.skipped)})" if self.skipped else ""
        return f"{self.runtime}, {self.device}, {self.precision}{passed}"

"""What a backend says about itself, for logs, summaries and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BackendName = Literal["onnxruntime", "openvino", "tensorrt"]

Precision = Literal["f32", "bf16", "f16", "int8"]
"""What a backend may be told to compute in. float32 and bfloat16 are computed from the model itself,
float16 and INT8 from a variant of it that the bundle has to hold."""

CandidateName = str
"""Names a backend and, where it is not its usual one, the precision: `openvino`, `openvino int8`."""


@dataclass(frozen=True, slots=True)
class BackendDescription:
    """Name what inference runs on.

    Attributes:
        runtime: for instance `onnxruntime 1.31.1`.
        device: for instance `CPUExecutionProvider`.
        precision: it computes in: `float32`, `bfloat16`, `float16`, `int8`.
        passed_over: what was tried before or asked for, each with the reason it was not taken.
    """

    runtime: str
    device: str
    precision: str
    passed_over: tuple[str, ...] = ()

    def __str__(self) -> str:
        passed = f" (passed over: {'; '.join(self.passed_over)})" if self.passed_over else ""
        return f"{self.runtime}, {self.device}, {self.precision}{passed}"

"""Time bundles on every runtime and precision of this device: the same frames, in turn, in one run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edge.backends.choose import usable_backends
from edge.backends.description import BackendOptions, Precision
from edge.backends.probe import (
    available_cores,
    multiplies_bfloat16,
    nvidia_gpu_present,
    processor_name,
)
from edge.backends.registry import BACKENDS, BackendName
from edge.bench.result_file import check_result_file, write_result
from edge.bundle.opening import Bundle, demo_bundle_path, open_bundle
from edge.bundle.store import bundle_path
from edge.cameras.choose import choose_camera
from edge.cameras.protocol import Frame, frames_of
from edge.config.edge import EdgeConfig
from edge.core.address import redact_credentials
from edge.core.counted import counted
from edge.core.errors import NoImagesError
from edge.core.latency import LatencyHistogram
from edge.inference.inspector import Inspector
from edge.inference.model import open_model
from edge.process.terminal import as_cell

logger = logging.getLogger(__name__)

KEPT_FRAMES = 8


@dataclass(slots=True)
class Contender:
    """Hold one bundle on one runtime in one precision.

    Attributes:
        latency: of whole frames: preprocessing, network, decoding, merging.
        map50_95: as the bundle says it was measured when it was published; None if it does not say.
    """

    model: str
    backend: BackendName
    precision: Precision
    inspector: Inspector
    map50_95: float | None
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    @property
    def fps(self) -> float:
        """Frames per second over all rounds."""
        return 1000 * len(self.latency) / self.latency.total_ms


def bench_runtimes(
    config: EdgeConfig, against: Path | None, *, frames: int, rounds: int, json_file: Path | None
) -> dict[str, Any]:
    """Measure, print a table and write the JSON.

    Args:
        config: names the camera and the bundle.
        against: a bundle whose float32 on ONNX Runtime is what all is compared with; None for the bundle's
            own.
        frames: of each contender in each round.
    Returns:
        The result, as it is also written to `json_file`; an earlier one there is set aside.
    Raises:
        LoomsightError: if a bundle cannot be vouched for, or the camera gives no frame.
    """
    check_result_file(json_file)
    kept = _kept_frames(config)
    with ExitStack() as stack:
        contenders = list(_contenders(config, against, stack))
        for contender in contenders:
            contender.inspector.warm_up(kept[0].image.shape[:2], kept[0].mm_per_px_across)
        for number in range(rounds):
            for contender in contenders:
                _inspect(contender, kept, frames)
            logger.info("round %d of %d done", number + 1, rounds)
        result = _result(contenders, config, frames * rounds)
    _print(result)
    write_result(result, json_file)
    return result


def _contenders(config: EdgeConfig, against: Path | None, stack: ExitStack) -> Iterator[Contender]:
    own = config.model or demo_bundle_path()
    for path in ([against] if against else []) + [own]:
        bundle = open_bundle(bundle_path(path))
        for name, precision in _runnable(bundle):
            changes = {"model": path, "backend": name, "precision": precision}
            backend, contract = open_model(config.model_copy(update=changes), stack)
            yield Contender(
                bundle.path.name,
                name,
                precision,
                Inspector(backend, contract, config.batch_tiles),
                published_map(bundle, name, precision),
            )


def _runnable(bundle: Bundle) -> list[tuple[BackendName, Precision]]:
    """Return what a bundle can run on here: float16 on a GPU, bfloat16 where the processor has it."""
    can: list[tuple[BackendName, Precision]] = []
    for name in usable_backends(BackendOptions()):
        for precision in BACKENDS[name].precisions:
            if precision == "f16" and not ("f16" in bundle.variants and nvidia_gpu_present()):
                continue
            if precision == "int8" and "int8" not in bundle.variants:
                continue
            if precision == "bf16" and not multiplies_bfloat16():
                continue
            can.append((name, precision))
    return can


def published_map(bundle: Bundle, name: BackendName, precision: Precision) -> float | None:
    """Return the mAP50-95 that a bundle says a model of it reached on a runtime; None if it does not.

    A report on models may hold anything: what is no row of `loomsight export` says nothing.
    """
    rows = ((bundle.manifest.parity or {}) if bundle.manifest else {}).get("models", ())
    for row in rows if isinstance(rows, list | tuple) else ():
        if not isinstance(row, Mapping) or row.get("precision") != precision:
            continue
        value = row.get("map50_95")
        if str(row.get("runtime")).startswith(name) and isinstance(value, int | float):
            return float(value)
    return None


def _inspect(contender: Contender, kept: Sequence[Frame], frames: int) -> None:
    for number in range(frames):
        frame = kept[number % len(kept)]
        start_ns = time.perf_counter_ns()
        contender.inspector.inspect(frame.image, frame.mm_per_px_across)
        contender.latency.add((time.perf_counter_ns() - start_ns) / 1e6)


def _kept_frames(config: EdgeConfig) -> list[Frame]:
    with choose_camera(config.camera, config.mm_per_px, config.bit_depth) as camera:
        frames = list(islice(frames_of(camera), KEPT_FRAMES))
    if not frames:
        raise NoImagesError(
            f"{redact_credentials(config.camera)} gave no frame.", "Name a camera that has frames."
        )
    return frames


def _result(contenders: Sequence[Contender], config: EdgeConfig, frames: int) -> dict[str, Any]:
    reference = contenders[0]
    return {
        "measured_on": {
            "processor": processor_name(),
            "cores": available_cores(),
            "threads": config.threads or available_cores(),
            "nvidia_gpu": nvidia_gpu_present(),
        },
        "camera": redact_credentials(config.camera),
        "frames": frames,
        "rows": [
            {
                "model": one.model,
                "backend": one.backend,
                "precision": one.precision,
                "frames_per_s": round(one.fps, 3),
                "times_reference": round(one.fps / reference.fps, 3),
                **{f"{key}_ms": value for key, value in one.latency.quantiles().items()},
                "map50_95": one.map50_95,
            }
            for one in contenders
        ],
    }


def _print(result: dict[str, Any]) -> None:
    on = result["measured_on"]
    table = Table(
        "bundle", "backend", "precision", "frames/s", "times the first", "p50 ms", "p99 ms", "mAP50-95"
    )
    for row in result["rows"]:
        shown = "—" if row["map50_95"] is None else f"{row['map50_95']:.4f}"
        table.add_row(
            as_cell(row["model"]), row["backend"], row["precision"], f"{row['frames_per_s']:.2f}",
            f"{row['times_reference']:.2f}", f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}", shown,
        )  # fmt: skip
    console = Console(width=120)
    threads, frames = counted(on["threads"], "thread"), counted(result["frames"], "frame")
    console.print(f"{on['processor']}, {threads}; {frames} each, in turn")
    console.print(table)

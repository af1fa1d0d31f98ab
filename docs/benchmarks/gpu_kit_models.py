"""Compare a bundle on a backend with ONNX Runtime on the processor, and time both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from commands import LOOMSIGHT
from gpu_kit_commands import run

from edge.backends.description import BackendOptions
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.protocol import Floats, OpenBackend
from edge.backends.provider_start import CPU
from edge.backends.registry import BACKENDS, BackendName
from edge.bundle.opening import Bundle, demo_bundle_path, open_bundle
from edge.core.contract import ModelContract
from edge.core.geometry import plan_views
from edge.core.image_file import read_image
from edge.inference.model import contract_of
from edge.inference.preprocess import Preprocessor
from export.quality import compared

BATCHES = (1, 8)
WARM_UP = 3
BENCH = "from edge.commands.bench_cli import main; main()"


@dataclass(frozen=True)
class BundleOnBackend:
    """Name a bundle and what it runs on."""

    backend: BackendName
    bundle: Path
    providers: tuple[str, ...] = ()


def bundles(folder: Path) -> dict[str, Path]:
    """Return the shipped bundle, and that of the student of the step train, which is exported once."""
    if not (folder / "student" / "metrics.json").is_file():
        return {"shipped": demo_bundle_path()}
    if not (folder / "student-bundle").is_dir():
        flags = ("--images", "images/images", "--out", "student-bundle")
        run(folder, LOOMSIGHT, "export", "student/best.pt", *flags)
    return {"shipped": demo_bundle_path(), "student": folder / "student-bundle"}


def compared_models(model: BundleOnBackend, repeats: int) -> dict[str, Any]:
    """Run the same tiles on a backend and on the processor.

    Returns:
        Greatest differences, fraction of detections that both have, and milliseconds of both, by batch.
    """
    bundle = open_bundle(model.bundle)
    contract = contract_of(bundle)
    tiles = golden_tiles(bundle, contract)
    kind = BACKENDS[model.backend]
    with (
        OnnxRuntimeBackend(bundle.model_path, contract, [CPU]) as processor,
        kind.opened(bundle.model_path, contract, BackendOptions(providers=model.providers)) as subject,
    ):
        expected, got = (_answered(one, tiles) for one in (processor, subject))
        boxes_px, scores, detections, matched = compared(expected, got, contract)
        return {
            "runs_on": str(subject.description),
            "boxes_max_px": round(boxes_px, 4),
            "scores_max": round(scores, 6),
            "detections": detections,
            "matched": round(matched, 4),
            "ms": {f"batch {batch}": _ms(subject, tiles, batch, repeats) for batch in BATCHES},
            "processor_ms": {
                f"batch {batch}": _ms(processor, tiles, batch, min(repeats, 20)) for batch in BATCHES
            },
        }


def golden_tiles(bundle: Bundle, contract: ModelContract) -> Floats:
    """Return the tiles of a bundle's golden images, (N, channels, H, W) float32, N a multiple of 8."""
    preprocessor, found = Preprocessor(contract), []
    for golden in bundle.manifest.golden if bundle.manifest is not None else ():
        image = read_image(bundle.path / golden.file)
        views = plan_views((image.shape[0], image.shape[1]), contract, contract.mm_per_px)
        found.append(preprocessor.batch(image, views).copy())
    tiles = np.concatenate(found)
    return np.ascontiguousarray(np.resize(tiles, (-(-len(tiles) // 8) * 8, *tiles.shape[1:])))


def edge_bench(folder: Path, backend: str, flags: tuple[str, ...]) -> dict[str, Any]:
    """Run edge-bench on the shipped bundle and return its result."""
    file = folder / f"edge-bench-{backend}.json"
    camera = ("--camera", "loom:seed=7,width_px=1024")
    run(folder, BENCH, *camera, "--backend", backend, *flags, "--json", str(file))
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def latency_ms(run: Callable[[], object], repeats: int) -> dict[str, float]:
    """Time a call: p50 and p99 in milliseconds, with the work of the GPU waited for."""
    times = []
    for _ in range(WARM_UP + repeats):
        began_s = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began_s))
    p50, p99 = np.quantile(times[WARM_UP:], (0.5, 0.99))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "runs": repeats}


def _answered(backend: OpenBackend, tiles: Floats) -> tuple[Floats, Floats]:
    parts = [backend.infer(tiles[start : start + 8]) for start in range(0, len(tiles), 8)]
    boxes, scores = zip(*parts, strict=True)
    return np.concatenate(boxes), np.concatenate(scores)


def _ms(backend: OpenBackend, tiles: Floats, batch: int, repeats: int) -> dict[str, float]:
    images = np.ascontiguousarray(tiles[:batch])
    return latency_ms(lambda: backend.infer(images), repeats)

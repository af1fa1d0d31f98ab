"""Choose a few images that travel in the bundle with what the model must find on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle.manifest import GoldenImage
from edge.core.contract import ModelContract
from edge.core.detections import DetectionRecord
from edge.core.image_file import read_image
from edge.inference.inspector import Inspector
from edge.sinks.images import write_image

GOLDEN_COUNT = 3
GOLDEN_FOLDER = "golden"


def write_golden(
    staged: Path, model_path: Path, contract: ModelContract, images: Sequence[Path]
) -> tuple[GoldenImage, ...]:
    """Inspect images with the exported model and copy the most telling ones into a bundle.

    Args:
        staged: folder of the bundle in the making.
        images: to choose from.
    """
    found = dict(zip(images, found_on(images, model_path, contract), strict=True))
    (staged / GOLDEN_FOLDER).mkdir()
    golden = []
    for number, path in enumerate(_telling(found)):
        name = f"{GOLDEN_FOLDER}/{number}.png"  # decoded anywhere to the same pixels, unlike JPEG
        write_image(staged / name, read_image(path))
        golden.append(GoldenImage(file=name, detections=tuple(found[path])))
    return tuple(golden)


def found_on(
    images: Sequence[Path], model_path: Path, contract: ModelContract
) -> list[list[DetectionRecord]]:
    """Inspect images with a model on ONNX Runtime, on the processor."""
    with OnnxRuntimeBackend(model_path, contract, providers=["CPUExecutionProvider"]) as backend:
        inspector = Inspector(backend, contract)
        return [inspector.inspect(read_image(path)).records(contract.class_names) for path in images]


def _telling(found: dict[Path, list[DetectionRecord]]) -> list[Path]:
    """Take images so that many classes are seen and sure; the last is one without a detection."""
    clean = [path for path, records in found.items() if not records]
    remaining = [path for path, records in found.items() if records]
    chosen: list[Path] = []
    seen: set[str] = set()
    while remaining and len(chosen) < GOLDEN_COUNT - bool(clean):
        best = max(remaining, key=lambda path: _worth(found[path], seen))
        remaining.remove(best)
        chosen.append(best)
        seen |= {record["label"] for record in found[best]}
    return (chosen + clean)[:GOLDEN_COUNT]


def _worth(records: list[DetectionRecord], seen: set[str]) -> tuple[int, float]:
    """Rank an image by the classes it adds, then by how sure its least sure detection is."""
    return len({record["label"] for record in records} - seen), min(record["score"] for record in records)

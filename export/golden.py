"""Choose a few pictures that travel in the bundle with what the model must find on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle.manifest import GoldenPicture
from edge.cameras.folder import read_picture
from edge.core.contract import ModelContract
from edge.core.detections import DetectionRecord
from edge.inference.inspector import Inspector
from edge.sinks.pictures import write_picture

GOLDEN_COUNT = 3
GOLDEN_FOLDER = "golden"


def write_golden(
    staged: Path, model_path: Path, contract: ModelContract, pictures: Sequence[Path]
) -> tuple[GoldenPicture, ...]:
    """Inspect pictures with the exported model and copy the most telling ones into a bundle.

    Args:
        staged: folder of the bundle in the making.
        pictures: to choose from.
    """
    found = dict(zip(pictures, found_on(pictures, model_path, contract), strict=True))
    (staged / GOLDEN_FOLDER).mkdir()
    golden = []
    for number, path in enumerate(_telling(found)):
        name = f"{GOLDEN_FOLDER}/{number}.png"  # decoded anywhere to the same pixels, unlike JPEG
        write_picture(staged / name, read_picture(path))
        golden.append(GoldenPicture(file=name, detections=tuple(found[path])))
    return tuple(golden)


def found_on(
    pictures: Sequence[Path], model_path: Path, contract: ModelContract
) -> list[list[DetectionRecord]]:
    """Inspect pictures with a model on ONNX Runtime, on the processor."""
    with OnnxRuntimeBackend(model_path, contract, providers=["CPUExecutionProvider"]) as backend:
        inspector = Inspector(backend, contract)
        return [inspector.inspect(read_picture(path)).records(contract.class_names) for path in pictures]


def _telling(found: dict[Path, list[DetectionRecord]]) -> list[Path]:
    """Take pictures so that many classes are seen and sure; the last is one without a detection."""
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
    """Rank a picture by the classes it adds, then by how sure its least sure detection is."""
    return len({record["label"] for record in records} - seen), min(record["score"] for record in records)

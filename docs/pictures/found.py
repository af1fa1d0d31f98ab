"""What the shipped demo bundle finds on a roll that it was not trained on."""

from __future__ import annotations

from pathlib import Path

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.cameras.protocol import Frame
from edge.contract import ModelContract
from edge.detections import DetectionRecord
from edge.errors import LoomsightError
from edge.image import Image
from edge.inspector import Inspector
from edge.simulator.camera import LoomCamera
from edge.simulator.options import LoomOptions
from edge.sinks.pictures import draw_detections

UNSEEN_SEED = 987_654
"""`loomsight simulate` numbers its pictures from 2^32 upwards: no data set can hold this roll."""

LOOKED_AT_FRAMES = 40


def draw_found(bundle_path: Path | None = None) -> Image | None:
    """Draw the frame of an unseen roll with the most classes found; None if there is no bundle."""
    try:
        bundle = open_bundle(bundle_path or demo_bundle_path())
    except LoomsightError as error:
        print(f"found.jpg is left as it is: {error}")
        return None
    if bundle.manifest is None:
        raise ValueError(f"{bundle.path} is a bare model; the picture is made with a bundle")
    contract = bundle.manifest.contract
    with OnnxRuntimeBackend(bundle.model_path, contract, threads=1) as backend:
        frame, records = best_frame(Inspector(backend, contract), contract)
    return draw_detections(frame.image, records)


def best_frame(inspector: Inspector, contract: ModelContract) -> tuple[Frame, list[DetectionRecord]]:
    """Inspect the start of the roll and return the frame that shows most, with its detections."""
    options = LoomOptions(
        seed=UNSEEN_SEED, width_px=1280, lines_per_block=448, defects_per_m=14,
        difficulties=("obvious", "clear", "subtle"),
    )  # fmt: skip
    inspected: list[tuple[Frame, list[DetectionRecord]]] = []
    with LoomCamera(options) as camera:
        for _ in range(LOOKED_AT_FRAMES):
            frame = camera.read()
            if frame is None:
                break
            found = inspector.inspect(frame.image, frame.mm_per_px_across)
            inspected.append((frame, found.records(contract.class_names)))
    return max(inspected, key=lambda item: (len({r["label"] for r in item[1]}), len(item[1])))

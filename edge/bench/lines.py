"""Measure the metres a minute that a device inspects, and the cost of the loop beside the bare engine.

Images are woven before anything is timed. The loop and the bare engine look at the same strips, in small
turns, one after the other: whatever else the device does meanwhile slows down both. With an article file
the loop has turns with its reference model, too.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.backends.probe import available_cores
from edge.backends.protocol import OpenBackend
from edge.bench.capacity import capacity, in_words, printed_ratio
from edge.bench.printing import print_busy
from edge.bench.result_file import check_result_file, measured_on, write_result
from edge.bundle.opening import demo_bundle_path, model_digest_of, open_bundle
from edge.bundle.store import bundle_path
from edge.cameras.choose import choose_camera
from edge.cameras.protocol import Camera, Frame, frames_of
from edge.cloth.finder import cloth_watch
from edge.cloth.optics import OpticsWatch
from edge.cloth.strips import Seam, strips_of
from edge.config.edge import EdgeConfig
from edge.core.address import redact_credentials
from edge.core.contract import ModelContract
from edge.core.counted import of_all
from edge.core.detections import with_unclassified
from edge.core.errors import NoImagesError
from edge.core.geometry import plan_views
from edge.core.latency import StageClock
from edge.inference.inspector import Inspector, batches
from edge.inference.model import contract_of, open_model
from edge.inference.preprocess import Preprocessor
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.process.other_load import OtherLoad
from edge.process.terminal import as_cell
from edge.process.whole_table import WholeTable, wide_console
from edge.reference.second_look import SecondLook
from edge.sinks.jsonlines import JsonLinesSink
from edge.teach.opening import open_for

logger = logging.getLogger(__name__)

KEPT_STRIPS = 8
"""Different strips that the loop and the engine look at, over and over."""

RATE_DIGITS, RATIO_DIGITS = 2, 3
"""Behind the point, of strips per second and of ratios, as they are printed."""

DEFAULT_MM_PER_PX = 0.2
"""Scale of the simulated cloth where neither the settings nor the model name one."""

SHAPES = {
    "4096 px line camera": "loom:seed=7,width_px=4096,lines_per_block={lines}",
    "2048 x 1080 px frames": "loom:seed=7,width_px=2048,scan=area,height_px=1080,exposure_ms=0",
}
"""Cameras that are measured where none is named. A strip of the line camera is as high as a tile, with the
lines that it shares with the one before."""

Batches = list[NDArray[np.float32]]


class KeptCamera(Camera):
    """Give kept strips as fast as they are read, over and over, as cloth that runs on.

    Args:
        kept: at least one; all of one size.
        count: the stream ends after so many.
    """

    name = "kept strips"
    is_live = False

    def __init__(self, kept: Sequence[Frame], count: int) -> None:
        self._kept = kept
        self._count = count
        self._given = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Release nothing."""

    def read(self) -> Frame | None:
        """Return the next strip. Its selvedges are not known: the finder has to look for the cloth."""
        number, self._given = self._given, self._given + 1
        if number >= self._count:
            return None
        frame = self._kept[number % len(self._kept)]
        position = frame.position
        if position is not None:
            along_m = number * len(frame.image) * position.mm_per_px_along / 1000
            position = replace(position, along_m=along_m, left_selvedge_px=None, right_selvedge_px=None)
        return replace(frame, frame_id=number, monotonic_s=time.monotonic(), position=position)


@dataclass(slots=True)
class Turns:
    """Strips per second of the loop, of the bare engine, and of the loop with a reference, turn by turn."""

    loop_hz: list[float] = field(default_factory=list)
    engine_hz: list[float] = field(default_factory=list)
    reference_hz: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Loop over engine, pair by pair."""
        return [loop / engine for loop, engine in zip(self.loop_hz, self.engine_hz, strict=True)]

    @property
    def reference_ratios(self) -> list[float]:
        """Loop with the reference over the loop without, pair by pair."""
        return [beside / loop for beside, loop in zip(self.reference_hz, self.loop_hz, strict=True)]


class LinesBenchmark:
    """Measure one model on the strips of one camera.

    Args:
        camera: as of `edge-run`; strips are taken from it once.
        strips: per turn.
        reference: has turns of its own beside the detector; None for none.
    Raises:
        NoImagesError: if the camera gives no frame.
    """

    def __init__(
        self,
        config: EdgeConfig,
        camera: str,
        strips: int,
        backend: OpenBackend,
        contract: ModelContract,
        reference: SecondLook | None = None,
    ) -> None:
        self._config, self._camera, self._strips = config, camera, strips
        self._backend, self._contract, self._reference = backend, contract, reference
        self.clock = StageClock()
        self._inspector = Inspector(backend, contract, config.batch_tiles, self.clock)
        self._cloth = cloth_watch(config)
        self._optics = OpticsWatch() if config.optics == "auto" else None
        self._kept = self._keep()
        self._batches = self._prepared()
        self.turns = Turns()
        self._engine_turn(1)

    def pair(self, *, engine_first: bool) -> None:
        """Give a turn to the engine, the loop, and the loop with the reference; or the other way round."""
        for turn in self._in_order() if engine_first else reversed(self._in_order()):
            turn()

    def _in_order(self) -> list[Callable[[], None]]:
        turns = self.turns
        order: list[Callable[[], None]] = [
            lambda: turns.engine_hz.append(self._engine_turn(self._strips)),
            lambda: turns.loop_hz.append(self._loop_turn(None)),
        ]
        if self._reference is not None:
            order.append(lambda: turns.reference_hz.append(self._loop_turn(self._reference)))
        return order

    def result(self) -> dict[str, Any]:
        """Return everything measured, ready for JSON."""
        turns, first = self.turns, self._kept[0]
        loop_hz, engine_hz = float(np.median(turns.loop_hz)), float(np.median(turns.engine_hz))
        return {
            "camera": redact_credentials(self._camera),
            "strip_hw_px": list(first.image.shape[:2]),
            "batches": [len(batch) for batch in self._batches[0]],
            "strips_per_s": round(loop_hz, 3),
            "engine_strips_per_s": round(engine_hz, 3),
            "ratio": printed_ratio(loop_hz, engine_hz, RATE_DIGITS, RATIO_DIGITS),
            "pairs": [round(ratio, 4) for ratio in turns.ratios],
            "capacity": capacity(first, len(first.image), loop_hz),
            "stages_ms": self.clock.quantiles(),
            **self._of_reference(first),
        }

    def _of_reference(self, first: Frame) -> dict[str, Any]:
        turns = self.turns
        if not turns.reference_hz:
            return {}
        strips_hz = float(np.median(turns.reference_hz))
        return {
            "with_reference": {
                "strips_per_s": round(strips_hz, 3),
                "ratio": printed_ratio(
                    strips_hz, float(np.median(turns.loop_hz)), RATE_DIGITS, RATIO_DIGITS
                ),
                "pairs": [round(ratio, 4) for ratio in turns.reference_ratios],
                "capacity": capacity(first, len(first.image), strips_hz),
            }
        }

    def _keep(self) -> list[Frame]:
        with choose_camera(self._camera, self._config.mm_per_px, self._config.bit_depth) as camera:
            kept = list(islice(strips_of(frames_of(camera), self._inspector.strip_lines), KEPT_STRIPS))
        if not kept:
            raise NoImagesError(
                f"{redact_credentials(self._camera)} gave no frame.", "Name a camera that has frames."
            )
        return [frame for frame in kept if frame.image.shape == kept[0].image.shape]

    def _prepared(self) -> list[Batches]:
        """Prepare the strips for the engine as the loop does: with the lines carried over to each."""
        seam = Seam(self._inspector.shared_lines(self._kept[0].mm_per_px_across))
        camera = KeptCamera(self._kept, len(self._kept) + 1)
        images = [seam.image(frame)[0] for frame in frames_of(camera)]
        return [self._batches_of(image) for image in images[1:]]

    def _batches_of(self, image: NDArray[np.uint8]) -> Batches:
        views = plan_views(image.shape[:2], self._contract, self._kept[0].mm_per_px_across)
        preprocessor = Preprocessor(self._contract)
        return [preprocessor.batch(image, b).copy() for b in batches(views, self._config.batch_tiles)]

    def _engine_turn(self, strips: int) -> float:
        start_s = time.perf_counter()
        for number in range(strips):
            for images_nchw in self._batches[number % len(self._batches)]:
                self._backend.infer(images_nchw)
        return strips / (time.perf_counter() - start_s)

    def _loop_turn(self, reference: SecondLook | None) -> float:
        """Run the real pipeline, with everything that `edge-run` does by itself, writing what it finds."""
        with tempfile.TemporaryDirectory() as folder:
            state = Pipeline(
                Source(KeptCamera(self._kept, self._strips), queue_frames=self._config.queue_frames),
                Inspection(
                    self._inspector,
                    with_unclassified(self._contract.class_names)
                    if reference
                    else self._contract.class_names,
                    self._cloth,
                    self._optics,
                    reference=reference,
                ),
                Results([JsonLinesSink(Path(folder) / "detections.jsonl")]),
            ).run()
        if state.error is not None:
            raise state.error
        return self._strips / state.seconds


def bench_lines(
    config: EdgeConfig, camera: str | None, *, strips: int, pairs: int, json_file: Path | None
) -> dict[str, Any]:
    """Measure, print a table and write the JSON.

    Args:
        camera: to take strips from; None for each of `SHAPES`.
        strips: of each turn.
        pairs: of turns.
    Returns:
        The result, as it is also written to `json_file`; an earlier one there is set aside.
    Raises:
        LoomsightError: if the model cannot be vouched for, the camera gives no frame, or `json_file` cannot
            be written; the last, as far as possible, before anything is measured.
    """
    check_result_file(json_file)
    with ExitStack() as stack:
        backend, contract = open_model(config, stack)
        reference = _reference_of(config) if config.reference else None
        cameras = {camera: camera} if camera else _cameras(config, Inspector(backend, contract), contract)
        shapes = {}
        for name, address in cameras.items():
            benchmark = LinesBenchmark(config, address, strips, backend, contract, reference)
            with OtherLoad() as others:
                for number in range(pairs):
                    benchmark.pair(engine_first=number % 2 == 1)
            shapes[redact_credentials(name)] = {**benchmark.result(), "other_load_cores": others.cores}
            logger.info("%s done", redact_credentials(name))
        result = {"measured_on": _measured_on(config, backend, contract), "strips_per_turn": strips}
    result["shapes"] = shapes
    _print(result)
    write_result(result, json_file)
    return result


def _reference_of(config: EdgeConfig) -> SecondLook:
    """Open the article file of the settings as a run does."""
    assert config.reference is not None
    bundle = open_bundle(bundle_path(config.model or demo_bundle_path()))
    as_published = contract_of(bundle)
    article = open_for(config.reference, as_published, model_digest_of(bundle), config.threads)
    return article.beside(as_published, config.selvedge_margin_mm)


def _cameras(config: EdgeConfig, inspector: Inspector, contract: ModelContract) -> dict[str, str]:
    mm_per_px = config.mm_per_px or contract.mm_per_px or DEFAULT_MM_PER_PX
    lines = inspector.strip_lines(mm_per_px) or contract.input_size_hw_px[0]
    scale = f",mm_per_px={mm_per_px:g}"
    return {name: address.format(lines=lines) + scale for name, address in SHAPES.items()}


def _measured_on(config: EdgeConfig, backend: OpenBackend, contract: ModelContract) -> dict[str, Any]:
    return {
        **measured_on(backend.description, contract),
        "threads": config.threads or available_cores(),
        "model": (config.model or demo_bundle_path()).name,
        "enhancement": contract.enhancement.kind,
    }


def _print(result: dict[str, Any]) -> None:
    on, console = result["measured_on"], wide_console()
    for name, shape in result["shapes"].items():
        console.print(
            f"{as_cell(name)}: this device can inspect {in_words(shape['capacity'])}", soft_wrap=True
        )
    console.print(
        f"{on['processor']}, engine at {of_all(on['threads'], on['cores'], 'thread')}; {on['runtime']} "
        f"{on['device']} {on['precision']}",
        soft_wrap=True,
    )
    table = WholeTable(
        "strips", "tiles", "strips/s", "bare engine", "ratio", "middle half of pairs", "capacity"
    )
    for name, shape in result["shapes"].items():
        can = shape["capacity"]
        table.add_row(
            as_cell(name), "+".join(map(str, shape["batches"])), f"{shape['strips_per_s']:.2f}",
            f"{shape['engine_strips_per_s']:.2f}", f"{shape['ratio']:.3f}",
            "{:.3f} to {:.3f}".format(*np.quantile(shape["pairs"], [0.25, 0.75])),
            "scale not known" if can is None else in_words(can),
        )  # fmt: skip
    console.print(table)
    for name, shape in result["shapes"].items():
        if beside := shape.get("with_reference"):
            console.print(
                f"{name}, with the reference: {beside['strips_per_s']:.2f} strips/s,"
                f" {beside['ratio']:.3f} of those without",
                soft_wrap=True,
            )
    for name, shape in result["shapes"].items():
        stages = ", ".join(f"{stage} {times['p50']:.2f}" for stage, times in shape["stages_ms"].items())
        console.print(f"{name}, p50 ms: {stages}", soft_wrap=True)
    print_busy(console, [shape["other_load_cores"] for shape in result["shapes"].values()])

"""Time the loop of `edge-run` against the bare engine: same frames, same run, in turn."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edge.backends.choose import in_precision
from edge.backends.registry import BACKENDS
from edge.bench.capacity import capacity, in_words, printed_ratio
from edge.bench.printing import print_busy
from edge.bench.result_file import check_result_file, measured_on, write_result
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.bundle.store import bundle_path
from edge.cameras.choose import choose_camera
from edge.cameras.protocol import Frame, frames_of
from edge.cloth.finder import cloth_watch
from edge.cloth.strips import Seam, strips_of
from edge.config.edge import EdgeConfig
from edge.core.address import redact_credentials
from edge.core.contract import ModelContract
from edge.core.counted import counted
from edge.core.errors import NoImagesError
from edge.core.geometry import View, plan_views
from edge.core.latency import LatencyHistogram, StageClock
from edge.inference.inspector import Inspector, batches
from edge.inference.model import backend_options, contract_of, open_model
from edge.inference.preprocess import Preprocessor, grey_enhancer
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.run_state import Limits
from edge.process.other_load import OtherLoad
from edge.process.whole_table import WholeTable, wide_console
from edge.sinks.jsonlines import JsonLinesSink

logger = logging.getLogger(__name__)

KEPT_FRAMES = 8
"""Different frames whose prepared tensors the bare engine runs on, in turn."""

FOLLOWING_FRAMES = 10

FPS_DIGITS, RATIO_DIGITS = 2, 3
"""Behind the point, of frames per second, milliseconds and ratios, as they are printed."""

STAGES = ("capture", "cloth", "preprocess", "infer", "decode", "merge", "write")


@dataclass(slots=True)
class BenchMeasurement:
    """Hold what one benchmark counts."""

    loop_fps: list[float] = field(default_factory=list)
    engine_fps: list[float] = field(default_factory=list)
    clock: StageClock = field(default_factory=StageClock)
    reference: LatencyHistogram = field(default_factory=LatencyHistogram)
    ours: LatencyHistogram = field(default_factory=LatencyHistogram)


class Benchmark:
    """Measure one model on one camera's frames.

    Args:
        config: names the camera and the model.
        frames: per round.
    """

    def __init__(self, config: EdgeConfig, frames: int, stack: ExitStack) -> None:
        self._config = config
        self._frames = frames
        start_s = time.perf_counter()
        self._backend, self._contract = open_model(config, stack)
        self._open_ms = (time.perf_counter() - start_s) * 1000
        self._kept = self._keep_frames()
        Inspector(self._backend, self._contract, config.batch_tiles).warm_up(
            self._kept[0].image.shape[:2], self._kept[0].mm_per_px_across
        )
        self._batches = [self._prepared(frame) for frame in self._kept]
        self.measured = BenchMeasurement()

    def round(self) -> None:
        """Run the loop, then the bare engine, over the same number of frames."""
        self.measured.loop_fps.append(self._loop_fps())
        self.measured.engine_fps.append(self._engine_fps())
        self._compare_preprocessing()

    def cold(self) -> dict[str, Any]:
        """Open the network again and time its first frames: nothing has run in it, not even a warm-up."""
        config = self._config
        options = backend_options(config)
        if self._backend.description.precision == "int8":  # also where the backend `auto` chose it
            options = replace(options, precision="int8")
        bundle = in_precision(
            open_bundle(bundle_path(config.model or demo_bundle_path())), options.precision
        )
        opened, contract = BACKENDS[self._backend.name].opened, contract_of(bundle)
        start_s = time.perf_counter()
        with opened(bundle.model_path, contract, options) as backend:
            load_ms = (time.perf_counter() - start_s) * 1000
            inspector = Inspector(backend, self._contract, config.batch_tiles)
            frames = self._first_frames(inspector)
        return {"open_and_check_ms": round(self._open_ms, 3), "load_ms": round(load_ms, 3), **frames}

    def after_idle(self, idle_s: float) -> dict[str, Any]:
        """Wait with a warm network, then time frames."""
        inspector = Inspector(self._backend, self._contract, self._config.batch_tiles)
        inspector.inspect(self._kept[0].image, self._kept[0].mm_per_px_across)
        time.sleep(idle_s)
        return {"idle_s": idle_s, **self._first_frames(inspector)}

    def _first_frames(self, inspector: Inspector) -> dict[str, Any]:
        """Time the first frame alone, and the ten that follow together, in milliseconds."""
        first, following = LatencyHistogram(), LatencyHistogram()
        for index in range(1 + FOLLOWING_FRAMES):
            frame = self._kept[index % len(self._kept)]
            start_s = time.perf_counter()
            inspector.inspect(frame.image, frame.mm_per_px_across)
            (following if index else first).add((time.perf_counter() - start_s) * 1000)
        return {"first_ms": first.quantiles()["max"], "following_ms": following.quantiles()}

    def result(self) -> dict[str, Any]:
        """Return everything measured, ready for JSON."""
        measured = self.measured
        stages = measured.clock.quantiles()
        loop_fps = float(np.median(measured.loop_fps))
        engine_fps = float(np.median(measured.engine_fps))
        ratios = [
            loop / engine for loop, engine in zip(measured.loop_fps, measured.engine_fps, strict=True)
        ]
        return {
            "capacity": capacity(self._kept[0], self._frame_hw_px[0], loop_fps),
            "engine_fps": round(engine_fps, 3),
            "loop_fps": round(loop_fps, 3),
            "ratio": printed_ratio(loop_fps, engine_fps, FPS_DIGITS, RATIO_DIGITS),
            "rounds": [round(ratio, 4) for ratio in ratios],
            "stages_ms": {name: stages[name] for name in STAGES if name in stages},
            "preprocess_vs_bare_opencv": self._preprocess_result(),
            "frame_hw_px": list(self._frame_hw_px),
            "tiles_per_frame": sum(len(views) for views in self._views(self._kept[0])),
            "frames_per_round": self._frames,
            "measured_on": {
                **measured_on(self._backend.description, self._contract),
                "batch": max(len(views) for views in self._views(self._kept[0])),
            },
        }

    def _preprocess_result(self) -> dict[str, float]:
        ours, reference = self.measured.ours.quantile_ms(0.5), self.measured.reference.quantile_ms(0.5)
        return {
            "ours_p50_ms": round(ours, 3),
            "bare_p50_ms": round(reference, 3),
            "ratio": printed_ratio(ours, reference, 3, 2),
        }

    def _keep_frames(self) -> list[Frame]:
        """Keep the first frames as the loop sees them: with the lines carried over to each."""
        inspector = Inspector(self._backend, self._contract)
        with choose_camera(self._config.camera, self._config.mm_per_px, self._config.bit_depth) as camera:
            frames = list(islice(strips_of(frames_of(camera), inspector.strip_lines), KEPT_FRAMES + 1))
        if not frames:
            raise NoImagesError(
                f"{redact_credentials(self._config.camera)} gave no frame.",
                "Name a camera that has frames.",
            )
        self._frame_hw_px = frames[0].image.shape[:2]
        seam = Seam(inspector.shared_lines(frames[0].mm_per_px_across))
        kept = [replace(frame, image=seam.image(frame)[0]) for frame in frames]
        return kept[1:] or kept  # above the first there is nothing to carry over

    def _views(self, frame: Frame) -> list[tuple[View, ...]]:
        views = plan_views(frame.image.shape[:2], self._contract, frame.mm_per_px_across)
        return batches(views, self._contract.batch or self._config.batch_tiles)

    def _prepared(self, frame: Frame) -> list[NDArray[np.float32]]:
        preprocessor = Preprocessor(self._contract)
        return [preprocessor.batch(frame.image, views).copy() for views in self._views(frame)]

    def _engine_pass(self, frames: int) -> None:
        for index in range(frames):
            for images_nchw in self._batches[index % len(self._batches)]:
                self._backend.infer(images_nchw)

    def _engine_fps(self) -> float:
        start_s = time.perf_counter()
        self._engine_pass(self._frames)
        return self._frames / (time.perf_counter() - start_s)

    def _loop_fps(self) -> float:
        """Run the real pipeline, restarting a stream that ends, until enough frames passed."""
        done, seconds = 0, 0.0
        with tempfile.TemporaryDirectory() as folder:
            while done < self._frames:
                state = self._pipeline(Path(folder) / "detections.jsonl", self._frames - done).run()
                if state.error is not None:
                    raise state.error
                done += state.coverage.frames_inspected + state.coverage.frames_without_cloth
                seconds += state.seconds
        return done / seconds

    def _pipeline(self, detections: Path, frames: int) -> Pipeline:
        return Pipeline(
            Source(
                choose_camera(self._config.camera, self._config.mm_per_px, self._config.bit_depth),
                Limits(frames=frames),
                self._config.queue_frames,
            ),
            Inspection(
                Inspector(self._backend, self._contract, self._config.batch_tiles, self.measured.clock),
                self._contract.class_names,
                cloth_watch(self._config),
            ),
            Results([JsonLinesSink(detections)]),
        )

    def _compare_preprocessing(self) -> None:
        """Time our preprocessing and bare OpenCV in turn, on the same views, nothing beside them."""
        preprocessor = Preprocessor(self._contract)
        bare = BareOpenCv(self._contract)
        for frame in self._kept * 3:
            image = frame.image
            grey = (
                image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
            )
            for views in self._views(frame):
                start_ns = time.perf_counter_ns()
                preprocessor.batch(image, views)
                middle_ns = time.perf_counter_ns()
                for view in views:
                    bare.prepare(grey, view)
                self.measured.ours.add((middle_ns - start_ns) / 1e6)
                self.measured.reference.add((time.perf_counter_ns() - middle_ns) / 1e6)


class BareOpenCv:
    """The three calls nobody can do without: `cv2.resize`, `CLAHE.apply`, `cv2.dnn.blobFromImage`."""

    def __init__(self, contract: ModelContract) -> None:
        height, width = contract.input_size_hw_px
        self._size_wh = (width, height)
        self._scale = contract.normalisation.scale
        self._enhance = grey_enhancer(contract.enhancement)
        self._channels = contract.channels

    def prepare(self, image: NDArray[np.uint8], view: View) -> NDArray[Any]:
        """Prepare one view of a grey image: (1, C, h, w) float32."""
        cut = image[view.top_px : view.bottom_px, view.left_px : view.right_px]
        enhanced = self._enhance(np.asarray(cv2.resize(cut, self._size_wh), np.uint8))
        blob_of = cv2.merge([enhanced] * 3) if self._channels == 3 else enhanced
        return cv2.dnn.blobFromImage(blob_of, self._scale)


def bench(
    config: EdgeConfig, *, frames: int, rounds: int, idle_seconds: float, json_file: Path | None
) -> dict[str, Any]:
    """Measure, print a table and write the JSON.

    Returns:
        The result, as it is also written to `json_file`; an earlier one there is set aside.
    Raises:
        OutputError: if `json_file` cannot be written; as far as possible before anything is measured.
    """
    check_result_file(json_file)
    with ExitStack() as stack:
        benchmark = Benchmark(config, frames, stack)
        cold = benchmark.cold()
        with OtherLoad() as others:
            for number in range(rounds):
                benchmark.round()
                logger.info("round %d of %d done", number + 1, rounds)
        result = benchmark.result()
        result |= {"other_load_cores": others.cores}
        result |= {"cold": cold, "after_idle": benchmark.after_idle(idle_seconds)}
    _print_result(result, wide_console())
    write_result(result, json_file)
    return result


def _print_result(result: dict[str, Any], console: Console) -> None:
    on = result["measured_on"]
    console.print(f"this device can inspect {in_words(result['capacity'])}", soft_wrap=True)
    console.print(
        f"{on['processor']}, {counted(on['cores'], 'core')}; {on['runtime']} {on['device']} "
        f"{on['precision']}",
        soft_wrap=True,
    )
    console.print(
        f"loop {result['loop_fps']:.2f} frames/s, bare engine {result['engine_fps']:.2f}: "
        f"ratio {result['ratio']:.3f}  ({counted(result['tiles_per_frame'], 'tile')} per frame, "
        f"batch {on['batch']})",
        soft_wrap=True,
    )
    bare = result["preprocess_vs_bare_opencv"]
    console.print(
        f"preprocessing p50 {bare['ours_p50_ms']:.3f} ms, bare resize + CLAHE + blob "
        f"{bare['bare_p50_ms']:.3f} ms: ratio {bare['ratio']:.2f}"
    )
    cold, idle = result["cold"], result["after_idle"]
    console.print(f"open and check {cold['open_and_check_ms']:.0f} ms, load alone {cold['load_ms']:.0f} ms")
    for name, first in (("cold", cold), (f"after {idle['idle_s']:.0f} s idle", idle)):
        following = first["following_ms"]
        console.print(
            f"{name}: first frame {first['first_ms']:.1f} ms, then "
            + " / ".join(f"{key} {following[key]:.1f}" for key in ("p50", "p95", "p99", "max"))
        )
    table = WholeTable("stage", "p50 ms", "p95 ms", "p99 ms", "max ms")
    for name, quantiles in result["stages_ms"].items():
        table.add_row(name, *(f"{quantiles[key]:.2f}" for key in ("p50", "p95", "p99", "max")))
    console.print(table)
    print_busy(console, [result["other_load_cores"]])

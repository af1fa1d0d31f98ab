"""Assemble a run from its settings: bundle, camera, sinks, pipeline, summary."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from edge.backends.onnxruntime import OnnxRuntimeBackend, read_contract
from edge.bundle import Bundle, demo_bundle_path, open_bundle
from edge.cameras.choose import choose_camera
from edge.config import EdgeConfig
from edge.contract import ModelContract
from edge.golden import check_golden
from edge.inspector import Inspector
from edge.live_view import LiveView
from edge.pipeline import Limits, Pipeline
from edge.sinks.files import check_writable, set_aside, write_whole
from edge.sinks.jsonlines import JsonLinesSink
from edge.sinks.pictures import PictureSink
from edge.sinks.protocol import Sink
from edge.summary import print_summary, summarise

logger = logging.getLogger(__name__)


def run(config: EdgeConfig) -> dict[str, Any]:
    """Inspect what a camera delivers and report what was found.

    Returns:
        The summary, as it is also written to `config.summary`.
    Raises:
        LoomsightError: what ended the run early; the summary of what was done is written before.
    """
    camera = choose_camera(config.camera, config.mm_per_px, config.bit_depth)
    if config.summary:
        check_writable(config.summary.parent)
    with ExitStack() as stack:
        backend, contract = open_model(config, stack)
        inspector = Inspector(backend, contract, config.batch_tiles)
        view = stack.enter_context(LiveView(Console(stderr=True), camera.name))
        pipeline = Pipeline(
            camera,
            inspector,
            contract.class_names,
            sinks=_sinks(config),
            limits=Limits(config.frames, config.seconds, config.metres),
            queue_frames=config.queue_frames,
            selvedge_margin_mm=config.selvedge_margin_mm,
            observe=view.update,
        )
        with stopped_by_signals(pipeline.stop):
            state = pipeline.run()
        description = backend.description
    summary = summarise(config, camera, state, inspector.clock, description)
    _write_summary(config, summary)
    if state.coverage.frames_inspected:
        print_summary(summary, Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120))
    if state.error is not None:
        raise state.error
    return summary


def open_model(config: EdgeConfig, stack: ExitStack) -> tuple[OnnxRuntimeBackend, ModelContract]:
    """Open the bundle, say aloud what it runs on, and check its golden pictures.

    Raises:
        ModelError, ContractError, BackendError: if the model cannot be vouched for.
    """
    bundle = open_bundle(config.model or demo_bundle_path())
    as_published = _contract_of(bundle)
    contract = as_published.with_thresholds(config.score_thresholds)
    backend = OnnxRuntimeBackend(bundle.model_path, as_published, config.providers or None, config.threads)
    stack.enter_context(backend)
    logger.info("model %s on %s", bundle.path, backend.description)
    check_golden(bundle, backend, as_published)
    return backend, contract


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set an event, so that the run ends after the frame in hand.

    A second Ctrl-C ends the program at once.
    """

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        logger.info("stopping on %s", signal.Signals(number).name)
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _contract_of(bundle: Bundle) -> ModelContract:
    return bundle.manifest.contract if bundle.manifest else read_contract(bundle.model_path)


def _sinks(config: EdgeConfig) -> list[Sink]:
    sinks: list[Sink] = []
    if config.detections:
        sinks.append(JsonLinesSink(config.detections))
    if config.save_pictures:
        sinks.append(PictureSink(config.save_pictures))
    if config.show:
        from edge.sinks.window import WindowSink

        sinks.append(WindowSink())
    return sinks


def _write_summary(config: EdgeConfig, summary: dict[str, Any]) -> None:
    if config.summary:
        set_aside(config.summary)
        write_whole(config.summary, json.dumps(summary, indent=1).encode() + b"\n")
        logger.info("summary in %s", config.summary)
    if config.detections:
        beside = Path(f"{config.detections}.config.json")
        set_aside(beside)
        write_whole(beside, json.dumps(config.public(), indent=1).encode() + b"\n")
        logger.info("detections in %s", config.detections)

"""Assemble a run from its settings: bundle, camera, sinks, pipeline, summary."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edge.backends.choose import (
    BackendOptions,
    fastest_backend,
    in_precision,
    open_backend,
    precision_for,
)
from edge.backends.protocol import OpenBackend
from edge.bundle import demo_bundle_path, open_bundle
from edge.bundle_store import bundle_path
from edge.cameras.choose import choose_camera
from edge.cameras.protocol import Camera
from edge.cameras.recovering import RecoveringCamera
from edge.cameras.watched import watched_camera
from edge.changeover import Changeover, as_left, contract_of
from edge.cloth.defects import ClothDefect
from edge.cloth.finder import GrainFinder
from edge.cloth.joints import JointFinder
from edge.cloth.optics import OpticsWatch
from edge.cloth.watch import ClothWatch
from edge.config import EdgeConfig
from edge.contract import ModelContract
from edge.decisions.choose import choose_stops
from edge.decisions.stops import Stops
from edge.detections import DetectionRecord
from edge.errors import LoomsightError
from edge.golden import check_golden
from edge.health.state import Health
from edge.health.systemd import Systemd
from edge.interruption import stopped_by_signals
from edge.live_view import LiveView
from edge.mqtt.choose import choose_publisher
from edge.outputs import check_outputs, pictures_folder, settings_file
from edge.page.live import LivePage
from edge.pipeline import Pipeline
from edge.recording import Recording
from edge.roll.recorder import RollRecorder
from edge.roll_askers import asking_for_rolls
from edge.roll_changes import RollChanges
from edge.run_state import Limits, Observer, RunState
from edge.sinks.files import set_aside, write_whole
from edge.sinks.jsonlines import JsonLinesSink
from edge.sinks.pictures import PictureSink, picture_name
from edge.sinks.protocol import Sink
from edge.sinks.quota import PictureQuota
from edge.summary import print_summary, summarise

if TYPE_CHECKING:
    from edge.mqtt.publisher import Publisher

logger = logging.getLogger(__name__)


def run(config: EdgeConfig) -> dict[str, Any]:
    """Inspect what a camera delivers and report what was found.

    Returns:
        The summary, as it is also written to `config.summary`.
    Raises:
        LoomsightError: what ended the run early; the summary of what was done is printed and written
            before, as far as that can be done.
    """
    config = as_left(config)
    camera = choose_camera(config.camera, config.mm_per_px, config.bit_depth)
    check_outputs(config, camera)
    watched = watched_camera(camera, config)
    with ExitStack() as stack:
        page = _page(config, camera, stack)
        changeover = stack.enter_context(Changeover(config, camera.name, open_model))
        class_names = changeover.contract.class_names
        stops = changeover.stops = choose_stops(config, class_names)
        publisher = choose_publisher(config, camera.name)
        if publisher is not None:
            stack.enter_context(publisher)
        view = stack.enter_context(LiveView(Console(stderr=True), camera.name))
        pictures = pictures_folder(config)
        recorder = _recorder(config, changeover, pictures, stops, publisher)
        changes = RollChanges(changeover.check)
        health = Health(
            config.health_frame_s, stops, publisher, lambda: recorder is not None and recorder.is_blocked
        )
        systemd = Systemd(health, os.environ)
        stack.callback(systemd.stopping)
        if config.health_port is not None:
            stack.enter_context(_health_server(health, config.health_host, config.health_port))
        if page:
            page.begin(class_names, recorder, health, changes)
        sinks = _sinks(config, pictures)
        pipeline = Pipeline(
            watched,
            changeover.inspector,
            class_names,
            sinks=sinks,
            limits=Limits(config.frames, config.seconds, config.metres),
            queue_frames=config.queue_frames,
            selvedge_margin_mm=config.selvedge_margin_mm,
            cloth=cloth_watch(config),
            observe=_all_of(view.update, health.update, systemd.update, *([page.update] if page else [])),
            recorder=recorder,
            stops=stops,
            reporters=[
                *([publisher] if publisher else []),
                *(sink for sink in sinks if isinstance(sink, PictureSink)),
                *asking_for_rolls(config, recorder, changes, stack),
            ],
            optics=OpticsWatch() if config.optics == "auto" else None,
            health=[watched] if isinstance(watched, RecoveringCamera) else [],
            recording=Recording(config.record, camera.name) if config.record else None,
            terms=changeover.terms(),
            changes=changes,
            plan=changeover.next_roll,
            joints=JointFinder(config.seam_apart_m) if config.seam == "auto" else None,
        )
        with stopped_by_signals(pipeline.stop):
            state = pipeline.run()
        if page:
            page.end(state)
        description, clock = changeover.backend.description, changeover.inspector.clock
    summary = summarise(config, watched, state, clock, description)
    summary["stops"] = stops.as_json() if stops else None
    _report(config, summary, state.error)
    return summary


def _page(config: EdgeConfig, camera: Camera, stack: ExitStack) -> LivePage | None:
    """Serve the live page if there is to be one: before the model is opened, as that takes long."""
    if config.page is None:
        return None
    from edge.page.server import open_page

    return open_page(config, camera, stack)


def _all_of(*observers: Observer) -> Observer:
    """Return an observer that tells all of these, in turn."""

    def tell(state: RunState, records: list[DetectionRecord]) -> None:
        for observe in observers:
            observe(state, records)

    return tell


def _health_server(health: Health, host: str, port: int) -> AbstractContextManager[object]:
    from edge.health.server import HealthServer

    return HealthServer(health, host, port)


def open_model(config: EdgeConfig, stack: ExitStack) -> tuple[OpenBackend, ModelContract]:
    """Open the bundle, say aloud what it runs on, and check its golden pictures.

    Raises:
        ModelError, ContractError, BackendError: if the model cannot be vouched for.
    """
    bundle = open_bundle(bundle_path(config.model or demo_bundle_path()))
    as_published = contract_of(bundle)
    contract = as_published.with_thresholds(config.score_thresholds)
    check, options = partial(check_golden, contract=as_published), backend_options(config)
    if config.backend == "auto":
        backend: OpenBackend = fastest_backend(bundle, as_published, options, check)
        stack.enter_context(backend)
    else:
        options = replace(options, precision=precision_for(config.backend, bundle, options.precision))
        meant = in_precision(bundle, options.precision)
        backend = stack.enter_context(open_backend(config.backend, meant, as_published, options))
        check(meant, backend)
    logger.info("model %s on %s", bundle.path, backend.description)
    return backend, contract


def backend_options(config: EdgeConfig) -> BackendOptions:
    """Return how the settings want the network to run."""
    precision = None if config.precision == "auto" else config.precision
    return BackendOptions(config.providers, precision, config.threads)


def cloth_watch(config: EdgeConfig) -> ClothWatch | None:
    """Return what says where the cloth is; None if every picture is to be taken as cloth throughout."""
    return ClothWatch(GrainFinder()) if config.cloth == "auto" else None


def _recorder(
    config: EdgeConfig,
    changeover: Changeover,
    pictures: Path | None,
    stops: Stops | None,
    publisher: Publisher | None,
) -> RollRecorder | None:
    """Return what keeps the roll record; None if there is to be none."""
    if config.roll_record is None:
        return None

    def picture_of(defect: ClothDefect) -> Path | None:
        if pictures is None or defect.seen is None:
            return None
        return pictures / f"{picture_name(defect.seen.frame_id)}.png"

    id_of = stops.id_of if stops else (lambda _: None)
    outbox = publisher.outbox if publisher else None
    return RollRecorder(config.roll_record, changeover.head(), picture_of, id_of=id_of, outbox=outbox)


def _sinks(config: EdgeConfig, pictures: Path | None) -> list[Sink]:
    sinks: list[Sink] = []
    if config.detections:
        sinks.append(JsonLinesSink(config.detections))
    if pictures and config.save_pictures:
        quota = PictureQuota(config.save_pictures, round(config.pictures_gb * 1e9))
        sinks.append(PictureSink(pictures, quota, may_miss=config.roll_record is not None))
    if config.show:
        from edge.sinks.window import WindowSink

        sinks.append(WindowSink())
    return sinks


def _report(config: EdgeConfig, summary: dict[str, Any], run_error: LoomsightError | None) -> None:
    """Print the summary, then write it, and raise what ended the run.

    On a full disk, writing fails as the run did: that is logged, and the run's own error is the one raised.
    """
    try:
        try:
            if summary["frames"]:
                print_summary(summary, Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120))
        finally:  # also when the reader of stdout went away
            _write_summary(config, summary)
    except (LoomsightError, OSError) as error:
        if run_error is None:
            raise
        logger.error("%s", error)
    if run_error is not None:
        raise run_error


def _write_summary(config: EdgeConfig, summary: dict[str, Any]) -> None:
    if config.summary:
        set_aside(config.summary)
        write_whole(config.summary, json.dumps(summary, indent=1).encode() + b"\n")
        logger.info("summary in %s", config.summary)
    beside = settings_file(config)
    if beside:
        set_aside(beside)
        write_whole(beside, json.dumps(config.public(), indent=1).encode() + b"\n")
        logger.info("detections in %s", config.detections)

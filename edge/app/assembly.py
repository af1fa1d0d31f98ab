"""Assemble the run of one camera from its settings: model, sinks, pipeline, summary."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edge.app.outputs import images_folder, settings_file
from edge.app.request_sources import asking_for_rolls
from edge.app.sinks import sinks_of
from edge.app.summary import print_summary, summarise
from edge.audit.trail import AuditTrail
from edge.cameras.choose import choose_camera, watched_camera
from edge.cameras.protocol import Camera
from edge.cloth.defects import ClothDefect
from edge.cloth.finder import cloth_watch
from edge.cloth.joints import JointFinder
from edge.cloth.optics import OpticsWatch
from edge.config.device import CameraSettings
from edge.config.edge import EdgeConfig
from edge.config.machine import MachineSettings
from edge.core.detections import with_unclassified
from edge.core.files import set_aside, write_whole
from edge.decisions.choose import choose_stops
from edge.decisions.stops import Stops
from edge.health.state import Health
from edge.inference.model import Models
from edge.machine.shared import Delivery
from edge.mqtt.choose import choose_publisher
from edge.pipeline.audited import RunAudit
from edge.pipeline.candidate import Candidate
from edge.pipeline.candidates import Candidates
from edge.pipeline.changeover import Changeover, as_left
from edge.pipeline.changes import RollChanges
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.run_state import Limits, Observer, RunState
from edge.pipeline.teaching import TeachingInRun
from edge.roll.recorder import RollRecorder
from edge.roll.small_images import SmallImages
from edge.sinks.images import ImageSink, image_name
from edge.sinks.locks import file_locked, folder_locked
from edge.sinks.near_misses import NearMissSink
from edge.sinks.protocol import Sink
from edge.sinks.quota import NEAR_MISSES, ImageQuota
from edge.sinks.raw_stream import Recording
from edge.sinks.written import WrittenList
from edge.teach.known_articles import LearntArticles
from edge.teach.on_the_roll import RollTeacher
from edge.teach.requests import TeachingRequests

if TYPE_CHECKING:
    from edge.mqtt.publisher import Publisher
    from edge.page.live import LivePage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunContext:
    """Hold what a camera's run shares with others, and who looks on.

    Attributes:
        models: opens networks.
        deliver: gives the way to a machine.
        health: of the run.
        page: shows the run; None for no page.
        observe: told of each frame, and of silence, after `health`.
        audit: writes entries of the audit log about this camera; None for none.
    """

    models: Models
    deliver: Callable[[MachineSettings], Delivery]
    health: Health
    page: LivePage | None
    observe: Sequence[Observer]
    audit: RunAudit | None = None


class CameraRun:
    """Hold one camera with its settings; nothing is opened or written yet.

    Attributes:
        config: its settings.
        camera: not yet entered.
        called: what to call it.
    Raises:
        CameraNotFoundError: if the settings name nothing that exists.
        ConfigError: if the options of the camera are wrong.
    """

    def __init__(self, settings: CameraSettings) -> None:
        config = as_left(settings.config)
        self.config = config
        self.camera: Camera = choose_camera(config.camera, config.mm_per_px, config.bit_depth)
        self.called = settings.called(self.camera.name)
        self._watched = watched_camera(self.camera, config)

    def open(self, around: RunContext, stack: ExitStack) -> OpenRun:
        """Open the model, and what else may refuse its settings; still nothing is written.

        Args:
            around: the run.
            stack: closes what was opened.
        Raises:
            LoomsightError: if the model cannot be vouched for, or a setting does not go with it.
        """
        config = self.config
        lock_outputs(config, stack)
        learnt = self._learnt_articles()
        changeover = stack.enter_context(Changeover(config, self.called, around.models.open, learnt))
        class_names = with_unclassified(changeover.contract.class_names)
        stops = changeover.stops = choose_stops(config, class_names, around.deliver)
        trail = around.audit.trail if around.audit is not None else None
        publisher = choose_publisher(config, self.called, (lambda: trail.head) if trail else None)
        if publisher is not None:
            stack.enter_context(publisher)
        images = images_folder(config)
        small_images = SmallImages()
        recorder = _recorder(config, changeover, images, stops, publisher, small_images, trail)
        changes = RollChanges(changeover.check)
        if self.camera.recording is not None:
            self.camera.recording.on_change = changes.replay
        around.health.attach(
            stops,
            publisher,
            lambda: recorder is not None and recorder.is_blocked,
            lambda: recorder.replaced if recorder else None,
            (lambda: trail.problem) if trail else None,
        )
        teaching = self._teaching(changeover)
        if around.page:
            around.page.begin(
                class_names, recorder, changes, lambda: changeover.taught, teaching, around.audit
            )
        candidates = self._candidates(around.models, stack)
        quota = _quota(config)
        sinks = [*([small_images] if recorder else []), *sinks_of(config, images, quota)]
        pipeline = Pipeline(
            self._source(changeover, changes),
            self._inspection(changeover, teaching, candidates),
            Results(
                sinks,
                _near_misses(config, images, quota),
                recorder,
                stops,
                _recording(config, self.camera, changeover),
                around.audit,
                reporters=[
                    around.health.helpers,
                    *([publisher] if publisher else []),
                    *([candidates] if candidates else []),
                    *(sink for sink in sinks if isinstance(sink, ImageSink)),
                    *asking_for_rolls(config, recorder, changes, stack),
                ],
                observers=[around.health.update, *around.observe],
            ),
        )
        if learnt is not None:
            learnt.roll_name = lambda: pipeline.state.roll.terms.name or config.camera
        page, health = around.page, around.health
        return OpenRun(config, self.called, self._watched, pipeline, changeover, changes, page, health)

    def _source(self, changeover: Changeover, changes: RollChanges) -> Source:
        config = self.config
        return Source(
            self._watched,
            Limits(config.frames, config.seconds, config.metres),
            config.queue_frames,
            config.offset_mm,
            changeover.terms(),
            changes,
            changeover.next_roll,
        )

    def _candidates(self, models: Models, stack: ExitStack) -> Candidates | None:
        """Return what opens the candidate of each roll; None if none is asked for."""
        store = self.config.candidate
        if store is None:
            return None
        return stack.enter_context(Candidates(store, models.open, may_skip=self._watched.is_live))

    def _inspection(
        self, changeover: Changeover, teaching: TeachingInRun | None, candidates: Candidates | None
    ) -> Inspection:
        config = self.config

        def candidate_of_roll() -> Candidate | None:
            if candidates is None:
                return None
            return candidates.of_roll(changeover.config, changeover.model_path, changeover.contract)

        return Inspection(
            changeover.inspector,
            with_unclassified(changeover.contract.class_names),
            cloth_watch(config),
            OpticsWatch() if config.optics == "auto" else None,
            JointFinder(config.seam_apart_m) if config.seam == "auto" else None,
            changeover.reference,
            changeover.recognise,
            teaching,
            config.selvedge_margin_mm,
            candidate_of_roll,
        )

    def _learnt_articles(self) -> LearntArticles | None:
        """Return where articles lie that runs of this camera learn; None if they learn none."""
        folder = self.config.auto_teach.folder
        if folder is None:
            return None
        replayed = self.camera.recording
        return LearntArticles(
            folder,
            is_replay=replayed is not None,
            knew_first=replayed is not None and replayed.knew,
        )

    def _teaching(self, changeover: Changeover) -> TeachingInRun | None:
        """Return what learns the article on the loom; None if nothing is to be learnt."""
        settings = self.config.auto_teach
        if settings.folder is None:
            return None
        requests, replayed = TeachingRequests(), self.camera.recording
        begins_alone = settings.start == "auto"
        if replayed is not None:
            replayed.on_teaching = requests.replay
            begins_alone = begins_alone and not replayed.teaches
        teacher = RollTeacher(
            settings,
            changeover.subject,
            is_live=self._watched.is_live,
            begins_alone=begins_alone,
            requests=requests,
        )
        return TeachingInRun(teacher, changeover, requests)


@dataclass(frozen=True, slots=True)
class OpenRun:
    """Hold the run of one camera, ready to begin."""

    config: EdgeConfig
    called: str
    camera: Camera
    pipeline: Pipeline
    changeover: Changeover
    changes: RollChanges
    page: LivePage | None
    health: Health

    @property
    def stop(self) -> threading.Event:
        """Ends the run with the current frame, once it is set."""
        return self.pipeline.stop

    def inspect(self) -> tuple[dict[str, Any], RunState]:
        """Run to the end.

        Returns:
            The summary, and the final state. A failure stands in its `error`.
        """
        state = self.pipeline.run()
        self.health.end(state)
        if self.page:
            self.page.end(state)
        clock, description = self.changeover.inspector.clock, self.changeover.backend.description
        summary = summarise(self.config, self.camera, state, clock, description) | {"camera": self.called}
        stops = self.changeover.stops
        summary["stops"] = stops.as_json() if stops else None
        summary["helpers"] = self.health.helpers.as_json()
        return summary, state


def _recorder(
    config: EdgeConfig,
    changeover: Changeover,
    images: Path | None,
    stops: Stops | None,
    publisher: Publisher | None,
    small_images: SmallImages,
    trail: AuditTrail | None,
) -> RollRecorder | None:
    """Return what keeps the roll record; None if there is to be none."""
    if config.roll_record is None:
        return None

    def image_of(defect: ClothDefect) -> Path | None:
        if images is None or defect.seen is None:
            return None
        return images / f"{image_name(defect.seen.frame_id)}.png"

    id_of = stops.id_of if stops else (lambda _: None)
    outbox = publisher.outbox if publisher else None
    return RollRecorder(
        config.roll_record,
        changeover.head(),
        image_of,
        id_of=id_of,
        outbox=outbox,
        small_image_of=small_images.of,
        audit_head=lambda: ("", None) if trail is None else (trail.log.path.name, trail.head),
    )


def _recording(config: EdgeConfig, camera: Camera, changeover: Changeover) -> Recording | None:
    if config.record is None:
        return None
    teaches = config.auto_teach.folder is not None
    return Recording(config.record, camera.name, teaches=teaches, knew=changeover.knows)


def show_summary(summary: dict[str, Any]) -> None:
    """Print the summary of a run, if it saw anything."""
    if summary["frames"]:
        print_summary(summary, Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120))


def write_summary(config: EdgeConfig, summary: dict[str, Any]) -> None:
    """Write the summary, and the settings beside the detections, where the settings ask for it.

    Raises:
        OutputError: if one cannot be written.
    """
    if config.summary:
        set_aside(config.summary)
        write_whole(config.summary, json.dumps(summary, indent=1).encode() + b"\n")
        logger.info("summary in %s", config.summary)
    beside = settings_file(config)
    if beside:
        set_aside(beside)
        write_whole(beside, json.dumps(config.public(), indent=1).encode() + b"\n")
        logger.info("detections in %s", config.detections)


def lock_outputs(config: EdgeConfig, stack: ExitStack) -> None:
    """Keep other programs out of the files and folders of a run, until the stack closes.

    Raises:
        OutputError: if another one is writing there.
    """
    for file in (config.detections, config.summary):
        if file is not None:
            stack.enter_context(file_locked(file))
    folder = config.save_pictures
    if folder is not None and config.roll_record is not None:
        stack.enter_context(folder_locked(folder))
    elif folder is not None:  # it is renamed, if it holds images of an earlier run
        if folder.is_dir():
            with folder_locked(folder):
                pass
        stack.enter_context(file_locked(folder))


def _quota(config: EdgeConfig) -> ImageQuota | None:
    if config.save_pictures is None:
        return None
    written = WrittenList(config.save_pictures) if config.roll_record else None  # else each run has its own
    return ImageQuota(config.save_pictures, round(config.pictures_gb * 1e9), written)


def _near_misses(config: EdgeConfig, images: Path | None, quota: ImageQuota | None) -> Sink | None:
    if images is None or quota is None or not config.near_miss:
        return None
    return NearMissSink(images / NEAR_MISSES, quota, config.near_misses_per_hour)

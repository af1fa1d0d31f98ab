"""Run a device: one camera in this thread, or several, each in a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final, NoReturn

from rich.console import Console

from edge.app.assembly import CameraRun, OpenRun, RunContext, show_summary, write_summary
from edge.app.audit import DeviceAudit, audit_outputs
from edge.app.live_view import CameraLine, LiveView
from edge.app.outputs import check_outputs
from edge.app.shared import check_apart, processor_shared, share_rolls, with_common_rolls, with_threads
from edge.config.device import CameraSettings
from edge.config.edge import EdgeConfig
from edge.core.address import redact_credentials
from edge.core.detections import DetectionRecord
from edge.core.errors import CameraNotFoundError, ConfigError, LoomsightError
from edge.decisions.choose import delivery_to
from edge.health.state import Health
from edge.health.systemd import Systemd
from edge.inference.model import Models
from edge.machine.shared import Machines
from edge.page.live import LivePage, live_page
from edge.pipeline.run_state import Observer, RunState
from edge.process.camera_log import about_camera
from edge.process.interruption import stopped_by_signals
from edge.process.last_resort import internal_error
from edge.process.supervised import OptionalWork, watched_by
from edge.process.terminal import say

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""How often the main thread looks whether the cameras are to end."""

LEAVE_S: Final = 1.0
"""So long a second Ctrl-C waits for the current frames."""


def run(config: EdgeConfig) -> dict[str, Any]:
    """Inspect what one camera delivers and report what was found; see `run_box`.

    Returns:
        The summary, as it is also written to `config.summary`.
    """
    return run_box([CameraSettings(None, config)])[0]


def run_box(cameras: Sequence[CameraSettings]) -> list[dict[str, Any]]:
    """Inspect what cameras deliver and report what was found.

    One that fails for good does not end the others. A wrong setting of any ends all, before anything is
    written.

    Returns:
        The summary of each.
    Raises:
        LoomsightError: what ended a run early, the first of several; the summaries of what was done are
            printed and written before, as far as that can be done.
    """
    runs = CameraRuns(cameras)
    with ExitStack() as served:
        runs.audit.write_until(served)
        runs.serve(served)
        with ExitStack() as stack:
            runs.open(stack)
            runs.inspect()
        if not runs.stays:
            served.close()
            return runs.report()
        try:
            done = runs.report()
        except (LoomsightError, OSError) as error:
            logger.error("%s", error)
            runs.stay()
            raise
        runs.stay()
        return done


class CameraPlace:
    """Run one camera of a device, from its settings to its summary.

    Attributes:
        chosen: the camera; None if there is none.
        opened: its run, once the model is open.
        error: what ended its run before the end, or kept it from beginning.
        summary: of the run, once it is over.
    """

    def __init__(self, settings: CameraSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.health = Health(settings.config.health_frame_s)
        self.chosen: CameraRun | None = None
        self.opened: OpenRun | None = None
        self.page: LivePage | None = None
        self.line: CameraLine | None = None
        self.stack = ExitStack()
        self.error: Exception | None = None
        self.summary: dict[str, Any] | None = None

    @property
    def called(self) -> str:
        """What to call the camera, also one that is not there."""
        if self.chosen is not None:
            return self.chosen.called
        return self.settings.called(redact_credentials(self.settings.config.camera))

    def fail(self, error: Exception) -> None:
        """Note what ended the run, where anybody looks for it."""
        self.error = error
        self.health.failure = str(error)
        if self.page is not None:
            self.page.fail(str(error))


class CameraRuns:
    """Run the cameras of one process.

    Args:
        cameras: at least one.
    Attributes:
        audit: writes the audit log.
    Raises:
        ConfigError, OutputError: if a setting is wrong, or cameras are in each other's way.
        CameraNotFoundError: if there is no camera at all.
    """

    def __init__(self, cameras: Sequence[CameraSettings]) -> None:
        self._view = LiveView(Console(stderr=True))
        self._places = [CameraPlace(settings) for settings in with_common_rolls(with_threads(cameras))]
        self._is_one = len(cameras) == 1
        self._failed: list[CameraPlace] = []
        self._url: str | None = None
        self._stays = self._is_asked_to_end = False
        self.audit = DeviceAudit(cameras)
        self._systemd = Systemd({place.name: place.health for place in self._places}, os.environ)
        self._check()

    @property
    def stays(self) -> bool:
        """Whether the page stays open: the settings ask for it, and nobody has ended the run."""
        return self._url is not None and self._stays and not self._is_asked_to_end

    def stay(self) -> None:
        """Keep the page open until Ctrl-C or SIGTERM."""
        for place in self._places:
            place.health.is_over = True
        say(f"inspection is finished; the page stays: {self._url}; Ctrl-C ends it")
        asked = threading.Event()
        with stopped_by_signals(asked):
            asked.wait()

    def open(self, stack: ExitStack) -> None:
        """Open models.

        Args:
            stack: closes them.
        Raises:
            LoomsightError: if a setting does not go with its model, or no camera can begin.
        """
        models = Models()
        released = self.audit.note_release
        alone = partial(delivery_to, released=released)
        deliver = alone if self._is_one else Machines(stack, released).delivery
        for place in self._places:
            stack.enter_context(place.stack)
            if place.chosen is not None:
                with self._attempt(place, LoomsightError), _in_name_of(place):
                    observers, audit = self._observers(place), self.audit.of(place.name)
                    around = RunContext(models, deliver, place.health, place.page, observers, audit)
                    place.opened = place.chosen.open(around, place.stack)
        for place in self._places:
            if place.opened is not None:
                self.audit.note_start(place.name, place.opened)
        share_rolls([place.opened for place in self._places if place.opened])
        self._beat(stack)
        stack.enter_context(self._view)
        stack.callback(self._systemd.stopping)

    def _beat(self, stack: ExitStack) -> None:
        """Tell each machine that wants it that inspection goes on."""
        machines = {place.settings.config.machine for place in self._places}
        for machine in (one for one in machines if one.has_heartbeat):
            from edge.health.heartbeat import Heartbeat
            from edge.machine.modbus import ModbusLine

            healths = {
                place.name: place.health
                for place in self._places
                if place.settings.config.machine == machine
            }
            with watched_by(*(health.helpers for health in healths.values())):
                stack.enter_context(Heartbeat(ModbusLine(machine), machine, healths))

    def inspect(self) -> None:
        """Run all cameras to their ends; Ctrl-C and SIGTERM end them with the current frames."""
        runs = [(place, place.opened) for place in self._places if place.opened]
        if self._is_one:
            place, run = runs[0]
            with processor_shared(1), stopped_by_signals(run.stop), _in_name_of(place):
                self._run(place, run)
            return
        threads = [
            threading.Thread(target=self._run_beside, args=one, name=f"camera {one[0].name}", daemon=True)
            for one in runs
        ]
        asked = threading.Event()
        with processor_shared(len(threads)), stopped_by_signals(asked):
            try:
                for thread in threads:
                    thread.start()
                while _are_running(threads, LOOK_S):
                    if asked.is_set():
                        _stop(runs)
            except KeyboardInterrupt:
                _stop(runs)
                _are_running(threads, LEAVE_S)
                raise

    def report(self) -> list[dict[str, Any]]:
        """Print the summaries, and raise what ended the first run that failed.

        On a full disk, writing a summary fails as the run did: that is logged.
        """
        done = [place.summary for place in self._places if place.summary is not None]
        try:
            try:
                for summary in done:
                    show_summary(summary)
            finally:  # also when the reader of stdout went away
                if self._is_one:
                    write_summary(self._places[0].settings.config, done[0])
        except (LoomsightError, OSError) as error:
            if not self._failed:
                raise
            logger.error("%s", error)
        for place in self._failed[1:]:
            logger.error("camera '%s' failed, too: %s", place.name, place.error)
        for place in self._failed[:1]:
            _raise(place)
        return done

    def _check(self) -> None:
        """Choose the cameras, and refuse what can be refused without touching anything."""
        if not self._is_one and any(place.settings.config.show for place in self._places):
            raise ConfigError("A window shows one camera.", "Leave show out, or name a camera with --only.")
        config = self._places[0].settings.config
        if config.page_stays and config.page is None:
            raise ConfigError("There is no page to stay.", "Add --page 8080, or leave page_stays out.")
        self._stays = config.page_stays
        for place in self._places:
            with self._attempt(place, CameraNotFoundError):
                place.chosen = CameraRun(place.settings)
        there = [(place.settings, place.chosen.camera) for place in self._places if place.chosen]
        check_apart(there)
        more = audit_outputs([place.settings for place in self._places])
        for settings, camera in there:
            with _named(settings.name):
                check_outputs(settings.config, camera, more)

    def serve(self, stack: ExitStack) -> None:
        """Serve page, health and OPC UA until a stack closes: before a model is opened, as that takes long.

        Raises:
            LoomsightError: if they cannot be served.
        """
        config = self._places[0].settings.config
        if config.page is not None or config.opcua is not None:
            self._show_pages()
        pages = {place.name: place.page for place in self._places if place.page}
        healths = {place.name: place.health for place in self._places}
        with watched_by(*(health.helpers for health in healths.values())):
            if config.page is not None or config.health_port is not None:
                from edge.page.server import serve

                self._url = serve(config, healths, pages, stack)
            if config.opcua is not None:
                from edge.opcua.server import serve_opcua

                configs = {place.name: place.settings.config for place in self._places}
                serve_opcua(config.opcua, configs, pages, stack)

    def _show_pages(self) -> None:
        """Let each camera tell what page and OPC UA show."""
        for place in self._places:
            camera = place.chosen.camera if place.chosen else None
            place.page = live_page(place.settings.config, camera, place.called, place.health)
            if place.error is not None:
                place.fail(place.error)

    def _observers(self, place: CameraPlace) -> list[Observer]:
        place.line = self._view.line_of(place.called, f"{place.name}: " if place.name else "")
        pages = [_optional("page", place.page.update)] if place.page else []
        return [_optional("terminal", place.line.update), *self._systemd.observers(place.name), *pages]

    def _run(self, place: CameraPlace, run: OpenRun) -> None:
        place.summary, state = run.inspect()
        self._is_asked_to_end |= state.stopped_on_request
        if state.error is not None:
            self._fail(place, state.error)

    def _run_beside(self, place: CameraPlace, run: OpenRun) -> None:
        """Run one camera of several, in its own thread; what it fails with is noted."""
        with _in_name_of(place):
            try:
                with place.stack:
                    self._run(place, run)
                if place.summary is not None:
                    write_summary(run.config, place.summary)
            # What one camera fails with, whatever it is (a library's panic is no Exception), must neither
            # end the others nor go unseen.
            except BaseException as error:  # noqa: BLE001
                self._fail(place, error if isinstance(error, Exception) else internal_error(error))
            self._tell_end(place)

    def _fail(self, place: CameraPlace, error: Exception) -> None:
        if not self._is_one:
            is_known = isinstance(error, LoomsightError | OSError)
            with about_camera(place.name):
                logger.error("the run ended: %s", error, exc_info=None if is_known else error)
        if place.error is None:
            self._failed.append(place)
            place.fail(error)

    def _tell_end(self, place: CameraPlace) -> None:
        """Let those who look on know that no more frames come from a camera, while others go on."""
        place.health.is_over = True
        self._systemd.update(place.name)
        if place.line is not None:
            place.line.end("FAILED" if place.error else "ended")

    @contextmanager
    def _attempt(self, place: CameraPlace, bears: type[LoomsightError]) -> Iterator[None]:
        """Take an error of one camera of several for its own; wrong settings end all."""
        try:
            yield
        except ConfigError as error:
            with _named(place.name):
                raise error
        except bears as error:
            self._fail(place, error)
            if len(self._failed) == len(self._places):
                _raise(self._failed[0])
            self._tell_end(place)


def _stop(runs: Sequence[tuple[CameraPlace, OpenRun]]) -> None:
    for _, run in runs:
        run.stop.set()


def _are_running(threads: Sequence[threading.Thread], wait_s: float) -> bool:
    """Wait for threads to end; True if some are left then."""
    end_s = time.monotonic() + wait_s
    for thread in threads:
        thread.join(max(0.0, end_s - time.monotonic()))
    return any(thread.is_alive() for thread in threads)


@contextmanager
def _in_name_of(place: CameraPlace) -> Iterator[None]:
    """Let the log name the camera, and its health watch the threads that are started from here."""
    with about_camera(place.name), watched_by(place.health.helpers):
        yield


@contextmanager
def _named(name: str | None) -> Iterator[None]:
    """Let an error say which of several cameras it is about."""
    try:
        yield
    except LoomsightError as error:
        if name is None:
            raise
        raise error.of_camera(name) from error


def _optional(name: str, observe: Observer) -> Observer:
    """Return an observer whose errors, whatever they are, do not end inspection."""
    work = OptionalWork(name)

    def observed(state: RunState, records: list[DetectionRecord]) -> None:
        with work:
            observe(state, records)

    return observed


def _raise(place: CameraPlace) -> NoReturn:
    error = place.error
    if isinstance(error, LoomsightError):
        with _named(place.name):
            raise error
    raise error or ValueError("the camera did not fail")

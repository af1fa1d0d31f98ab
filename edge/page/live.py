"""Publish values from inspection to the page: it swaps immutable values and does nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import uuid4

from edge import __version__
from edge.cameras.again import frames_again
from edge.cameras.protocol import Camera, Frame
from edge.cloth.coverage import GapOnRoll
from edge.cloth.defects import ClothDefect
from edge.config.edge import EdgeConfig
from edge.core.detections import DetectionRecord
from edge.health.state import Health
from edge.page.frames import FramesSeen
from edge.page.grade import GradeSoFar, graded
from edge.page.past import Past
from edge.page.snapshot import DEFECTS_S, Phase, Recent, RunCounts, Snapshot, counts_of
from edge.page.trouble import troubles
from edge.pipeline.audited import RunAudit
from edge.pipeline.changes import RollChanges
from edge.pipeline.run_state import RunSnapshot, RunState
from edge.pipeline.teaching import TeachingInRun
from edge.roll.recorder import RollRecorder
from edge.teach.article_file import ArticleFile

SHOWN_SHAPE = 0.6
"""Blocks of a line camera are shown one above the other until they are so high for their width."""

MOST_BLOCKS = 24


class InspectedBlock(NamedTuple):
    """Hold an inspected frame and its detections; `number` counts from 1."""

    number: int
    frame: Frame
    records: tuple[DetectionRecord, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Hold the facts that do not change during a run.

    Attributes:
        run_id: of this process: a page that was open before starts again.
        can_review: whether verdicts can be recorded.
        stays: whether the page stays open when inspection is finished.
        articles: that the settings have tables for, by name.
    """

    camera: str
    version: str
    can_review: bool
    is_live: bool
    run_id: str
    stays: bool = False
    articles: tuple[str, ...] = ()


class LivePage:
    """Hold what the page shows. Inspection calls `update` and `end`, the page's threads read attributes.

    Args:
        camera: its name, without credentials.
        version: of loomsight.
        health: of the run; told of each frame before the page is.
        can_review: whether there is a roll record.
        is_live: whether the camera keeps the pace of the cloth.
        stays: whether the page stays open when inspection is finished.
        articles: see `RunFacts`.

    Attributes:
        health: as given.
        device, snapshot, blocks: as they are now. Each is replaced whole.
        class_names: of the model, once it is open.
        recorder: of the run, once there is one.
        changes: where the next roll is asked for, once there is a run.
        taught: returns what the article on the loom was taught; None if nobody taught it.
        teaching: learns the article on the loom when it is asked to; None if nothing is to be learnt.
        frames: gives the frames again when inspection is finished.
        past: what was wrong during the run.
        recorded_grade: of the roll in the record, as it was read last; None without a record.
        audit: notes what people change; None without an audit log.
    """

    def __init__(
        self,
        camera: str,
        version: str,
        health: Health,
        *,
        can_review: bool,
        is_live: bool,
        stays: bool = False,
        articles: tuple[str, ...] = (),
    ) -> None:
        self.device = RunFacts(camera, version, can_review, is_live, uuid4().hex, stays, articles)
        self.class_names: tuple[str, ...] = ()
        self.recorder: RollRecorder | None = None
        self.changes: RollChanges | None = None
        self.taught: Callable[[], ArticleFile | None] = _nothing
        self.teaching: TeachingInRun | None = None
        self.audit: RunAudit | None = None
        nothing = RunCounts(0.0, 0, 0, 0, 0, 0, 0.0)
        self.snapshot = Snapshot("starting", time.monotonic(), nothing, RunState().snapshot())
        self.blocks: tuple[InspectedBlock, ...] = ()
        self.health = health
        self.frames = FramesSeen()
        self.past = Past()
        self.recorded_grade: GradeSoFar | None = None
        self._recent = Recent()
        self._last_minute = Recent(DEFECTS_S)
        self._gap_mark: tuple[int, int] = (0, 0)
        self._gaps: tuple[GapOnRoll, ...] = ()
        self._defects: tuple[ClothDefect, ...] = ()
        self._defects_before = 0
        self._roll_number = 1

    @property
    def roll_id(self) -> str | None:
        """Id of the roll in the record; None without a record, and before it is open."""
        return self.recorder.roll_id if self.recorder else None

    @property
    def now(self) -> Snapshot:
        """The last snapshot, with what is known beside inspection as it is now, also while that hangs."""
        health, shown = self.health, self.snapshot
        return replace(
            shown,
            helpers_dead=tuple(health.helpers.dead),
            helpers_unwell=tuple(health.helpers.unwell),
            heartbeat_lost=health.heartbeat_is_lost,
            unwell=health.verdict().reasons,
            grade=shown.grade if self.recorder is None else self.recorded_grade,
        )

    def begin(
        self,
        class_names: Sequence[str],
        recorder: RollRecorder | None,
        changes: RollChanges | None = None,
        taught: Callable[[], ArticleFile | None] | None = None,
        teaching: TeachingInRun | None = None,
        audit: RunAudit | None = None,
    ) -> None:
        """Take in what is known once the model is open. Called before the run."""
        self.class_names = tuple(class_names)
        self.recorder = recorder
        self.changes = changes
        self.taught = taught or _nothing
        self.teaching = teaching
        self.audit = audit

    def update(self, state: RunState, records: list[DetectionRecord]) -> None:
        """Take in a frame, or the silence of the camera. Called by inspection."""
        frame = state.last_frame
        if frame is not None and (not self.blocks or self.blocks[-1].frame is not frame):
            self._show(frame, records)
        self.class_names = state.class_names or self.class_names
        run = self.health.snapshot
        if run is not None and run is not self.snapshot.run:
            self.snapshot = self._taken(state, run, "running")
            self.past = self.past.after(troubles(self.now, run.taken_s), time.time())

    def end(self, state: RunState) -> None:
        """Show how the run ended."""
        self.snapshot = self._taken(state, self.health.snapshot or state.snapshot(), "ended")
        self.past = self.past.over(time.time())

    def fail(self, why: str) -> None:
        """Show why there is no run, or no more of it."""
        self.snapshot = replace(self.snapshot, phase="ended", taken_s=time.monotonic(), error=why)

    def fails(self, problem: str, *, is_told: bool) -> None:
        """Let health know what keeps the page from answering; see `Helpers.note`. Called by the page."""
        self.health.helpers.note("page", problem, is_told=is_told)

    def _show(self, frame: Frame, records: list[DetectionRecord]) -> None:
        before = self.blocks
        block = InspectedBlock(before[-1].number + 1 if before else 1, frame, tuple(records))
        self.blocks = shown_together((*before, block))
        if self.device.stays:
            self.frames.note(frame, records)

    def _taken(self, state: RunState, run: RunSnapshot, phase: Phase) -> Snapshot:
        counts = counts_of(run)
        recent = self._recent.add(counts)
        minute = self._last_minute.add(counts)
        origin_m = self._origin_m(state)
        knows, seconds = run.roll.knows_metres, recent.at_s
        self._keep_places(state)
        health = self.health
        return Snapshot(
            phase,
            run.taken_s,
            recent,
            run,
            frames_per_s=recent.frames / seconds if seconds else 0.0,
            along_m=counts.along_m + origin_m if knows else None,
            speed_m_min=recent.along_m / seconds * 60 if knows and seconds else None,
            length_m=run.reached_m + origin_m,
            defect_count=self.recorder.defects_recorded if self.recorder is not None else run.roll_defects,
            latency_ms=run.latency.quantiles(),
            age_ms=run.age.quantiles() if self.device.is_live else None,
            audit_waits=health.audit_problem is not None,
            record_waits=self.recorder is not None and self.recorder.is_blocked,
            record_replaced=self.recorder is not None and self.recorder.replaced is not None,
            broker_away=health.broker_is_away,
            broker_refuses=health.broker_refuses,
            machine_away=health.machine_is_away,
            error=run.error,
            defects=self._defects,
            defects_before=self._defects_before,
            gaps=self._gaps,
            origin_m=origin_m,
            grade=self._grade(state) if self.recorder is None else None,
            new_defects=minute.defects,
            is_live=self.device.is_live,
        )

    def _grade(self, state: RunState) -> GradeSoFar | None:
        """Return how the roll stands by what this run knows of it."""
        roll = state.roll.ended()
        area_m2 = roll.inspected_m2 if roll.sums.knows_metres else None
        return graded(roll.points, area_m2, roll.terms.grade_limits)

    def _origin_m(self, state: RunState) -> float:
        """Return where on the roll metre 0 of the camera lies."""
        if self.recorder is not None:
            return self.recorder.shift_m(state.coverage)
        return -state.coverage.first_line * state.coverage.m_per_line

    def _keep_places(self, state: RunState) -> None:
        """Copy defects and gaps when they changed; the roll record has them where there is one."""
        if self.recorder is not None:
            return
        if self._roll_number != state.roll.number:
            self._roll_number, self._gap_mark = state.roll.number, (-1, 0)
            self._defects, self._defects_before = (), 0
        found = state.defects
        if self._defects_before + len(self._defects) != len(found):
            self._defects, self._defects_before = tuple(found), found.forgotten
        gaps = state.coverage.gap_list
        mark = (len(gaps), gaps.lines)
        if mark != self._gap_mark:
            self._gap_mark, self._gaps = mark, tuple(state.coverage.gaps)


def _nothing() -> None:
    """Say that nothing was taught."""


def live_page(config: EdgeConfig, camera: Camera | None, called: str, health: Health) -> LivePage:
    """Return what a camera's run tells its page; of a camera that is not there, only that."""
    is_live = camera is not None and camera.is_live
    can_review = config.roll_record is not None
    live = LivePage(
        called,
        __version__,
        health,
        can_review=can_review,
        is_live=is_live,
        stays=config.page_stays,
        articles=tuple(sorted(config.articles)),
    )
    if config.page_stays and not is_live:
        live.frames.again = frames_again(config.camera, config.bit_depth)
    return live


def shown_together(blocks: tuple[InspectedBlock, ...]) -> tuple[InspectedBlock, ...]:
    """Return the last blocks that make one image: those of a line camera that follow on each other."""
    last = blocks[-1].frame
    height, width = last.image.shape[:2]
    first = len(blocks) - 1
    while first > 0 and len(blocks) - first < MOST_BLOCKS:
        here, before = blocks[first].frame, blocks[first - 1].frame
        fits = height + len(before.image) <= SHOWN_SHAPE * width
        if not (fits and here.follows_on and before.image.shape[1:] == last.image.shape[1:]):
            break
        height += len(before.image)
        first -= 1
    return blocks[first:]

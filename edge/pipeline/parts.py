"""The parts of one camera's run: where frames come from, how they are inspected, where results go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.cameras.protocol import Camera
from edge.cloth.finder import ClothWatch
from edge.cloth.joints import JointFinder
from edge.cloth.optics import OpticsWatch
from edge.core.events import Reporter, utc_now
from edge.decisions.stops import Stops
from edge.inference.inspector import Inspector
from edge.pipeline.audited import RunAudit
from edge.pipeline.candidate import Candidate
from edge.pipeline.changes import RollChanges, RollPlan, RollRequest
from edge.pipeline.run_state import Limits, Observer
from edge.pipeline.teaching import TeachingInRun
from edge.reference.second_look import Looker
from edge.reference.watch import Recognise, knows_none
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead, RollTerms, roll_name_of
from edge.sinks.protocol import Sink
from edge.sinks.raw_stream import Recording

Planner = Callable[[RollRequest], RollPlan]
CandidateOfRoll = Callable[[], Candidate | None]


def same_cloth(request: RollRequest) -> RollPlan:
    """Return the plan of a roll that is inspected as the one before."""
    return RollPlan(RollHead("", "", {}, request.name or roll_name_of(utc_now()), request.article))


def no_candidate() -> None:
    """Return that no candidate inspects beside the bundle in use."""


@dataclass(frozen=True, slots=True)
class Source:
    """Say where frames come from, how many there may be, and where rolls end.

    Attributes:
        camera: not yet entered; it is released whatever happens.
        limits: when to end by itself.
        queue_frames: frames that may wait between capture and inspection.
        offset_mm: from the left selvedge to the left edge of the camera's view; None if that is not known.
        terms: of the first roll.
        changes: where the next roll is asked for.
        plan: says how the next roll is inspected.
    """

    camera: Camera
    limits: Limits = field(default_factory=Limits)
    queue_frames: int = 4
    offset_mm: float | None = None
    terms: RollTerms = field(default_factory=RollTerms)
    changes: RollChanges = field(default_factory=RollChanges)
    plan: Planner = same_cloth


@dataclass(frozen=True, slots=True)
class Inspection:
    """Say how frames are inspected.

    Attributes:
        inspector: finds defects in a frame.
        class_names: of the inspector's contract.
        cloth: says where in an image is cloth; None to take every image as cloth throughout.
        optics: watches lamp and lens; None to disable.
        joints: finds joints between two pieces of cloth, where a roll ends; None to disable.
        reference: looks beside the detector for what does not belong into the cloth; None to disable.
        recognise: names the article, other than that of the roll, that cloth looks like.
        teaching: learns the article on the loom; None to disable.
        selvedge_margin_mm: nearer to a selvedge that is known, or to an edge of the cloth that is found,
            nothing is reported.
        candidate_of_roll: gives the candidate bundle that inspects beside, as each roll begins.
    """

    inspector: Inspector
    class_names: Sequence[str]
    cloth: ClothWatch | None = None
    optics: OpticsWatch | None = None
    joints: JointFinder | None = None
    reference: Looker | None = None
    recognise: Recognise = knows_none
    teaching: TeachingInRun | None = None
    selvedge_margin_mm: float = 0.0
    candidate_of_roll: CandidateOfRoll = no_candidate


@dataclass(frozen=True, slots=True)
class Results:
    """Say where results go, and whose events are recorded beside them.

    Attributes:
        sinks: take the result of each frame, in this order; not yet entered.
        near_misses: takes frames without a defect that nearly had one; None to disable.
        recorder: keeps the roll record; None for none.
        stops: decides about stopping the machine, where a position is known; None to decide nothing.
        recording: keeps the frames as they come to inspection; not yet entered; None for none.
        reporters: asked after each frame, and while the camera is silent, for events to record.
        audit: writes the audit log; None for none.
        observers: called after each frame, and now and then, with no detections, while no frame comes.
    """

    sinks: Sequence[Sink] = ()
    near_misses: Sink | None = None
    recorder: RollRecorder | None = None
    stops: Stops | None = None
    recording: Recording | None = None
    audit: RunAudit | None = None
    reporters: Sequence[Reporter] = ()
    observers: Sequence[Observer] = ()

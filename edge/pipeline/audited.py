"""Note in the audit log what happens in the run of one camera: stops, rolls, articles, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edge.audit.trail import AuditTrail
from edge.audit.who import SETTINGS, user_named
from edge.core.events import RecordedEvent
from edge.decisions.stops import DELIVERED, HELD_BACK, NOT_DELIVERED, SIGNAL_FOUND, STOP, WOULD_BE_STOP
from edge.pipeline.changes import RollPlan, RollRequest
from edge.roll.audit_heads import anchor
from edge.roll.reviews import Review
from edge.teach.values import LEARNT, NOT_LEARNT, NOT_OPENED, STARTED, TAUGHT_AGAIN, TeachingRequest

VERDICT: Final = "verdict"
ROLL_CHANGED: Final = "roll changed"
TEACHING_ASKED: Final = "teaching requested"
PLACE_MARKED: Final = "place struck out"
MARK_TAKEN_BACK: Final = "place taken back"
STOP_RELEASED: Final = "stop released"

OF_THE_RECORD: Final = frozenset(
    {
        *(STOP, WOULD_BE_STOP, HELD_BACK, DELIVERED, NOT_DELIVERED, SIGNAL_FOUND),
        *(STARTED, LEARNT, NOT_LEARNT, TAUGHT_AGAIN, NOT_OPENED),
    }
)
"""Kinds of events of the roll record that are entries of the audit log, too, under the same id."""

SETTLE_S: Final = 1.0
"""An answer to a person waits so long for its entry."""


class RunAudit:
    """Write entries about one camera.

    Args:
        trail: of the device.
        camera: its name; None for the only one.
    Attributes:
        trail: as given.
    """

    def __init__(self, trail: AuditTrail, camera: str | None = None) -> None:
        self.trail = trail
        self._of_camera = {"camera": camera} if camera else {}

    def take(self, events: Sequence[RecordedEvent], roll: str | None) -> None:
        """Note those events of a roll that the settings decide about, and those that a person asked for."""
        for event in events:
            person = (event.data or {}).get("who")
            if event.kind not in OF_THE_RECORD and person is None:
                continue
            data = {"id": event.event_id, "detail": event.detail, "roll": roll}
            at_m = None if event.at_m is None else round(event.at_m, 3)
            who = user_named(person) if person else SETTINGS
            self.note(who, event.kind, **data, camera_m=at_m)

    def roll_changed(self, request: RollRequest, plan: RollPlan, roll: str | None) -> None:
        """Note that a roll began, who asked for it, and the article and model that hold from here on."""
        who = request.who or (SETTINGS if request.by in ("joint", "signal") else request.by)
        head = plan.head
        self.note(
            who,
            ROLL_CHANGED,
            roll=roll,
            article=head.article,
            article_changes=plan.article_changes,
            asked_by=request.by,
            model_sha256=head.model_digest,
        )

    def verdict(self, who: str | None, event_id: str, review: Review) -> None:
        """Note what a person said of a defect; on the disk soon after, or waiting for it."""
        said = {"id": event_id, "verdict": review.verdict, "class_name": review.class_name}
        self.note(user_named(who), VERDICT, **said)
        self.trail.settle(SETTLE_S)

    def anchor(self, record: Path) -> None:
        """Keep the newest entry in a roll record at once: no run may write it any more."""
        anchor(record, self.trail.log.path.name, self.trail.head)

    def teaching(self, who: str | None, request: TeachingRequest, article: str | None) -> None:
        """Note that a person wants the article on the loom to be learnt, or not."""
        self.note(user_named(who), TEACHING_ASKED, request=request, article=article)

    def mark(self, who: str | None, article: str, number: int, *, is_defect: bool) -> None:
        """Note that a person struck a place out of what an article was taught from, or took that back."""
        kind = PLACE_MARKED if is_defect else MARK_TAKEN_BACK
        self.note(user_named(who), kind, article=article, place=number)

    def note(self, who: str, kind: str, **data: Any) -> None:
        """Note anything else."""
        known = {key: value for key, value in data.items() if value is not None}
        self.trail.note(who, kind, {**self._of_camera, **known})

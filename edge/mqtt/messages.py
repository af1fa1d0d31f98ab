"""Define the MQTT messages: one JSON object for each record and each change of state, with its schema."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from edge.core.detections import UNCLASSIFIED, Shape

VERSION: Final = 1
"""Raised when a field changes its meaning; new fields do not raise it."""


class _OfRoll(BaseModel):
    """Define the fields that defects and events have in common."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = Field(default=VERSION, description="Of this message.")
    id: str = Field(description="Given once, in the record, too. A message that comes twice has it twice.")
    utc: str = Field(description="When it was found or happened, ISO 8601.")
    roll: str | None = Field(description="Name of the roll.")
    roll_id: str | None = Field(description="Of the roll in the record.")
    article: str | None = Field(description="Of the cloth.")


class DefectMessage(_OfRoll):
    """Describe a defect, complete. Topic `PREFIX/BOX/defect`."""

    class_name: str
    score: float = Field(ge=0, le=1)
    start_m: FiniteFloat = Field(description="Along the roll.")
    end_m: FiniteFloat
    left_mm: FiniteFloat = Field(description="From the left selvedge.")
    right_mm: FiniteFloat
    points: int = Field(description="ASTM D5430.")
    shape: Shape | None = Field(
        description=f"Of the class `{UNCLASSIFIED}`, which no detector has a name for; else null."
    )
    kind: str | None = Field(description="Category of the taxonomy; null where it is not known.")


class EventMessage(_OfRoll):
    """Something that happened. Topic `PREFIX/BOX/event`, and `PREFIX/BOX/stop` for stops."""

    kind: str = Field(description="For instance `would-be stop` or `camera silent`.")
    detail: str = Field(description="For a person to read.")
    at_m: FiniteFloat | None = Field(description="Along the roll.")
    data: dict[str, Any] | None = Field(description="The same for a program to read.")


class AuditHead(BaseModel):
    """Name the newest entry of the audit log: keep it, and a log whose end is cut off later is found."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=1)
    digest: str = Field(description="SHA-256 of the entry, hexadecimal.")


class GapMessage(_OfRoll):
    """Describe cloth that was delivered and not inspected. Topic `PREFIX/BOX/gap`.

    It is sent once the cloth has passed it, and again if it changes after that.
    """

    revision: int = Field(ge=1, description="Of the messages with this id the one with the highest holds.")
    lines: int = Field(ge=0, description="Of the camera; 0 takes the gap back: it was inspected after all.")
    start_m: FiniteFloat | None = Field(description="Along the roll; null where that is not known.")
    end_m: FiniteFloat | None
    reason: str


class VerdictMessage(_OfRoll):
    """Report what a person said of a defect. Topic `PREFIX/BOX/verdict`."""

    revision: int = Field(ge=1, description="Of the verdicts on one defect the one with the highest holds.")
    defect_id: str = Field(description="`id` of the defect.")
    defect_utc: str = Field(description="`utc` of the defect.")
    detected_class_name: str = Field(description="Of the defect, by the detector.")
    kind: str | None = Field(description="Of the defect; null where it is not known.")
    verdict: Literal["confirmed", "rejected", "undone"]
    class_name: str | None = Field(description="That the person gave it; null where they gave none.")


class RollMessage(_OfRoll):
    """Describe a roll, at its start and at its end. Topic `PREFIX/BOX/roll`; `id` is the `roll_id`."""

    revision: int = Field(ge=1, description="Of the messages on one roll the one with the highest holds.")
    status: Literal["running", "finished", "failed", "interrupted"]
    started_utc: str
    ended_utc: str | None
    camera: str
    model_digest: str
    loomsight: str = Field(description="Version of the program that began it.")
    length_m: FiniteFloat | None = Field(description="Up to now; null where the scale is not known.")
    passed_m: FiniteFloat | None = Field(description="Delivered by the camera.")
    inspected_m: FiniteFloat | None
    cloth_width_mm: FiniteFloat | None
    defects: int = Field(ge=0, description="Recorded up to now.")
    points: int | None = Field(description="ASTM D5430; null before the end.")
    points_per_100_m2: FiniteFloat | None
    grade: str | None
    header: dict[str, str] | None = Field(description="Of the roll report: mill, customer, order, ...")


class StatusMessage(BaseModel):
    """Tell whether this device is there. Topic `PREFIX/BOX/status`, retained; `lost` is the last will.

    `check` is of `loomsight mqtt check`, is not retained, and says nothing about the device.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = VERSION
    state: Literal["running", "ended", "lost", "check"]
    loomsight: str = Field(description="Version of the program.")
    camera: str = Field(description="Name of the camera.")
    audit: AuditHead | None = Field(
        default=None, description="Newest entry of the audit log; null: there is none, or not known."
    )
    installation: str | None = Field(
        default=None, description="Tells devices apart that have one name; null where nothing tells."
    )


class StoredMessage(BaseModel):
    """Say what the office has stored. Topic `PREFIX/BOX/stored`, from the office to the device."""

    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = VERSION
    stored: list[str] = Field(description="The correlation data of the messages, in their order.")


MESSAGES: Final[dict[str, type[BaseModel]]] = {
    "defect": DefectMessage,
    "event": EventMessage,
    "stop": EventMessage,
    "gap": GapMessage,
    "verdict": VerdictMessage,
    "roll": RollMessage,
    "status": StatusMessage,
}
"""Last part of the topic -> what a device sends there."""

STORED: Final = "stored"
"""Last part of the topic on which the office answers; see `StoredMessage`."""

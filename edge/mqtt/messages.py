"""Build the MQTT messages: one JSON object for each defect, event and change of state, with its schema."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from edge.core.detections import UNCLASSIFIED, Shape
from edge.roll.outbox import WaitingMessage

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


MESSAGES: Final[dict[str, type[BaseModel]]] = {
    "defect": DefectMessage,
    "event": EventMessage,
    "stop": EventMessage,
    "status": StatusMessage,
}
"""Last part of the topic -> what is sent there."""


def message_of(waiting: WaitingMessage) -> tuple[str, str]:
    """Return the last part of the topic, and the JSON text.

    Raises:
        ValueError: if the record holds something else than its schema permits.
    """
    if waiting.origin == "defect":
        return "defect", DefectMessage(id=waiting.event_id, **waiting.fields).model_dump_json()
    message = EventMessage(id=waiting.event_id, **waiting.fields)
    topic = "stop" if "stop" in message.kind.split() else "event"
    return topic, message.model_dump_json()

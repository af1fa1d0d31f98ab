"""Build the message of what waits in the outbox, and read what the office answers to it."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ValidationError

from edge.mqtt.messages import (
    DefectMessage,
    EventMessage,
    GapMessage,
    RollMessage,
    StoredMessage,
    VerdictMessage,
)
from edge.roll.outbox import WaitingMessage

OF_ORIGIN: Final[dict[str, type[BaseModel]]] = {
    "defect": DefectMessage,
    "event": EventMessage,
    "gap": GapMessage,
    "roll": RollMessage,
    "verdict": VerdictMessage,
}


def message_of(waiting: WaitingMessage) -> tuple[str, str]:
    """Return the last part of the topic, and the JSON text.

    Raises:
        ValueError: if the record holds something else than its schema permits.
    """
    message = OF_ORIGIN[waiting.origin].model_validate({"id": waiting.event_id, **waiting.fields})
    topic: str = waiting.origin
    if isinstance(message, EventMessage):
        topic = "stop" if "stop" in message.kind.split() else "event"
    return topic, message.model_dump_json()


def receipt_name(waiting: WaitingMessage) -> str:
    """Return the correlation data of a message: by it the office says that it has stored it."""
    return f"{waiting.number} {waiting.event_id}"


def receipts_of(payload: bytes) -> list[tuple[int, str]]:
    """Read what the office says to have stored; nothing from what is no such message."""
    try:
        message = StoredMessage.model_validate_json(payload)
    except ValidationError:
        return []
    named = (name.partition(" ") for name in message.stored)
    return [
        (int(number), event_id) for number, _, event_id in named if number.isdecimal() and len(number) < 19
    ]

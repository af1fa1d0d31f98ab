"""Read what a device sent: its topic names the loom, its JSON is checked, older versions are mapped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.types import AwareDatetime

from edge.mqtt.check_kind import CHECK
from edge.mqtt.messages import MESSAGES, VERSION

OLDEST_VERSION: Final = 0
"""Of messages that say none."""

Upgrade = Callable[[str, dict[str, Any]], dict[str, Any]]

UPGRADES: Final[dict[int, Upgrade]] = {0: lambda topic, fields: fields}
"""Version -> what makes a message of the next one of it, by its topic."""

LONGEST_REASON: Final = 300
TIMES: Final = ("utc", "started_utc", "ended_utc", "defect_utc")
LONGEST_NAME: Final = 300
NAMES: Final = (
    "id",
    "roll_id",
    "defect_id",
    "article",
    "kind",
    "class_name",
    "reason",
    "detected_class_name",
)
"""What indexes hold: PostgreSQL takes no long ones there."""

_TIME: Final[TypeAdapter[datetime]] = TypeAdapter(AwareDatetime)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Hold a message as the broker delivered it.

    Attributes:
        topic: whole.
        payload: as it came.
        received_utc: when.
        reply_topic, reply_name: where and how a receipt is asked for; None where none is.
    """

    topic: str
    payload: bytes
    received_utc: datetime
    reply_topic: str | None = None
    reply_name: bytes | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """Hold a sound message.

    Attributes:
        loom: the device, with the camera where it has several.
        topic: last part.
        fields: of the message; times are datetimes.
        arrival: as it came.
    """

    loom: str
    topic: str
    fields: dict[str, Any]
    arrival: Arrival

    @property
    def received_utc(self) -> datetime:
        """When it came."""
        return self.arrival.received_utc


@dataclass(frozen=True, slots=True)
class Refused:
    """Hold a message that cannot be stored, and why.

    Attributes:
        version: that it says to have; None if it says none that is a number.
    """

    topic: str
    payload: bytes
    received_utc: datetime
    reason: str
    version: int | None = None


def read_message(arrival: Arrival, prefix: str) -> Incoming | Refused | None:
    """Check a message; None for one of `loomsight mqtt check`.

    Args:
        arrival: as it came.
        prefix: of all topics, without the last slash.
    """
    loom, topic = place_of(arrival.topic, prefix)
    version = None
    try:
        if not loom or len(loom) > LONGEST_NAME or topic not in MESSAGES:
            raise ValueError("its topic is not PREFIX/LOOM/MESSAGE or PREFIX/LOOM/CAMERA/MESSAGE")
        fields = _object(arrival.payload)
        version = _version(fields)
        if CHECK in (fields.get("kind"), fields.get("state")):
            return None
        sound = _checked(topic, _upgraded(topic, fields, version))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        return Refused(arrival.topic, arrival.payload, arrival.received_utc, reason, version)
    return Incoming(loom, topic, sound, arrival)


def place_of(topic: str, prefix: str) -> tuple[str, str]:
    """Return the loom and the last part of a topic; an empty loom if it is not one of ours."""
    inside = topic.removeprefix(f"{prefix}/")
    loom, _, last = inside.rpartition("/")
    is_ours = inside != topic and loom.count("/") <= 1 and "" not in loom.split("/")
    return (loom if is_ours else ""), last


def _object(payload: bytes) -> dict[str, Any]:
    """Read JSON that PostgreSQL can hold.

    Raises:
        ValueError: if it is no object, or holds a zero character.
    """
    text = payload.decode("utf-8")
    if "\0" in text or "\\u0000" in text:
        raise ValueError("it holds a zero character")
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    json.dumps(fields, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    return fields


def _version(fields: Mapping[str, Any]) -> int | None:
    version = fields.get("version", OLDEST_VERSION)
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def _upgraded(topic: str, fields: dict[str, Any], version: int | None) -> dict[str, Any]:
    """Bring a message to today's version.

    Raises:
        ValueError: if it is newer, or of none.
    """
    if version is None or version < OLDEST_VERSION:
        raise ValueError("its version is no number from 0 on")
    if version > VERSION:
        raise ValueError(
            f"it has version {version}, and this office knows {VERSION}: update it, then run "
            "`loomsight office reread`"
        )
    for step in range(version, VERSION):
        fields = UPGRADES[step](topic, fields)
    return {**fields, "version": VERSION}


def _checked(topic: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of a message; what an older program did not know is null, what is new is left out.

    Raises:
        ValueError: naming the first field that is wrong.
    """
    model = MESSAGES[topic]
    known = {name: fields[name] for name in model.model_fields if name in fields}
    missing = {
        name: None
        for name, field in model.model_fields.items()
        if name not in known and field.is_required() and type(None) in get_args(field.annotation)
    }
    try:
        sound = model.model_validate({**missing, **known}).model_dump()
        long = next((name for name in NAMES if len(sound.get(name) or "") > LONGEST_NAME), None)
        if long is not None:
            raise ValueError(f"{long}: longer than {LONGEST_NAME} characters")
        return {**sound, **{name: _time(sound[name]) for name in TIMES if name in sound}}
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place or 'a time'}: {first['msg']}") from error


def _time(text: str | None) -> datetime | None:
    return None if text is None else _TIME.validate_python(text).astimezone(timezone.utc)

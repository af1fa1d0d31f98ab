"""Define the table `[mqtt]`: how to reach the broker. No setting holds a password: see `password_of`."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge.core.address import checked_host
from edge.core.errors import ConfigError
from edge.core.outside_files import check_private, read_text
from edge.core.settings import OwnPath

PASSWORD_VARIABLE = "LOOMSIGHT_MQTT_PASSWORD"
PORTS = {"mqtt": 1883, "mqtts": 8883}

TopicPart = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^#+/\x00-\x1f\x7f]+$")]
Prefix = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^#+$/\x00-\x1f\x7f][^#+\x00-\x1f\x7f]*$")
]
LoginText = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]


class BrokerLogin(BaseModel):
    """Hold how to reach a broker, from a device or from the office.

    Attributes:
        broker: `mqtts://host:port` (TLS) or `mqtt://host:port`; None for none.
        user: to log in as; None to log in without a name.
        password_file: its first line is the password. Without it LOOMSIGHT_MQTT_PASSWORD is.
        ca_file: certificates that vouch for the broker; None for those of the system.
        certificate_file, key_file: of this device, where the broker wants one.
        prefix: topics begin with it.
        keepalive_s: after so much silence the connection is tested.
        timeout_s: of connecting.
        longest_pause_s: between two tries; the first is one second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    broker: str | None = None
    user: LoginText | None = None
    password_file: OwnPath | None = None
    ca_file: OwnPath | None = None
    certificate_file: OwnPath | None = None
    key_file: OwnPath | None = None
    prefix: Prefix = "loomsight"
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    longest_pause_s: float = Field(default=60.0, ge=1, le=3600)

    @field_validator("broker")
    @classmethod
    def _is_an_address(cls, broker: str | None) -> str | None:
        if broker is None:
            return None
        if not broker.isprintable() or " " in broker:
            raise ValueError("it has a space or a control character; mqtts://host[:port] is permitted")
        try:
            parts = urlsplit(broker)
        except ValueError as error:
            raise ValueError(f"{error}; mqtts://host[:port] is permitted") from error
        if "@" in parts.netloc:  # the message must not show it, and pydantic shows what was given
            raise ConfigError(
                "The broker's address holds a user or a password, which every process list shows.",
                f"Set user, and password_file or {PASSWORD_VARIABLE}.",
            )
        rest = parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in PORTS or not parts.hostname or rest or not _has_port(parts):
            raise ValueError("mqtts://host[:port] or mqtt://host[:port] is permitted")
        checked_host(parts.hostname)
        return broker

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return urlsplit(self.broker or "").scheme == "mqtts"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.broker or "")
        return parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)


class MqttSettings(BrokerLogin):
    """Hold where events are sent.

    Attributes:
        box: topics are `prefix/box/...`; without a device, the name of this computer.
        camera: a further part, `prefix/box/camera/...`: in a device with several cameras the name of each.
        inflight: messages sent and not yet acknowledged.
        most_waiting: when so many wait, what is recorded further is not queued for the broker.
        acknowledge_s: a broker that acknowledges nothing for so long is connected to again.
        flush_s: the end of a run waits so long for the last messages.
        receipts: what the broker has is sent again until the office says to have stored it.
        receipt_s: when no receipt comes for so long, one message is sent again.
    """

    box: TopicPart | None = None
    camera: TopicPart | None = None
    inflight: int = Field(default=20, ge=1, le=1000)
    most_waiting: int = Field(default=100_000, ge=1, le=10_000_000)
    acknowledge_s: float = Field(default=30.0, gt=0, le=600)
    flush_s: float = Field(default=5.0, ge=0, le=600)
    receipts: bool = False
    receipt_s: float = Field(default=60.0, gt=0, le=86_400)

    @property
    def root(self) -> str:
        """What all topics of this device, or of this camera, begin with, without the last slash."""
        name = self.box or socket.gethostname().translate(str.maketrans("#+/", "___")) or "box"
        return "/".join([self.prefix.rstrip("/"), name, *([self.camera] if self.camera else [])])


def password_of(settings: BrokerLogin, environment: Mapping[str, str]) -> str | None:
    """Return the password; None if there is none.

    Raises:
        ConfigError: if its file cannot be read, or others may read it, or it is no text; if there is a
            password and no user.
    """
    file, password = settings.password_file, environment.get(PASSWORD_VARIABLE)
    if file is not None:
        check_private(file, "mqtt.password_file")
        password = read_text(file, cure="Check mqtt.password_file.").split("\n", 1)[0]
    if password and not password.isprintable():
        raise ConfigError(
            "The password for the broker holds a control character.", "Write it as plain text."
        )
    if password and settings.user is None:
        raise ConfigError("There is a password for the broker, and no user.", "Set mqtt.user.")
    return password or None


def _has_port(parts: SplitResult) -> bool:
    """Tell whether the port, if there is one, is a port."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False

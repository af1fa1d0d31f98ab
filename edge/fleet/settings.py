"""Define the settings of the office; see docs/office.md."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge.config.mqtt import BrokerLogin
from edge.core.errors import ConfigError
from edge.core.outside_files import check_private, read_text
from edge.core.settings import OwnPath, environment_values, resolved, toml_values

ENVIRONMENT_PREFIX: Final = "LOOMSIGHT_OFFICE_"
FOREVER_S: Final = 0xFFFF_FFFF
"""A session of MQTT 5 that never expires."""

Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OfficeBroker(BrokerLogin):
    """Hold how to reach the broker, and how to stay subscribed while away.

    Attributes:
        client_id: the broker keeps messages under this name; two offices of one name throw each other out.
        session_expiry_s: the broker keeps them for so long while the office is away.
        inflight: messages that the broker hands out before the first of them is stored.
        largest_bytes: longer messages are not taken.
    """

    client_id: Name = "loomsight-office"
    session_expiry_s: int = Field(default=14 * 86_400, ge=0, le=FOREVER_S)
    inflight: int = Field(default=1000, ge=1, le=65_535)
    largest_bytes: int = Field(default=1 << 20, ge=4096, le=1 << 28)


class DatabaseSettings(_Table):
    """Hold how to reach PostgreSQL.

    Attributes:
        url: `postgresql://user@host[:port]/database`, without a password.
        password_file: its first line is the password. Without it libpq looks into PGPASSFILE, ~/.pgpass and
            PGPASSWORD.
        timeout_s: of connecting.
    """

    url: str = "postgresql:///loomsight"
    password_file: OwnPath | None = None
    timeout_s: int = Field(default=5, ge=1, le=60)

    @field_validator("url")
    @classmethod
    def _has_no_password(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            password, _ = parts.password, parts.port
        except ValueError as error:
            raise ValueError(f"{error}; postgresql://user@host/database is permitted") from error
        if parts.scheme not in ("postgresql", "postgres") or not url.isprintable():
            raise ValueError("postgresql://user@host[:port]/database is permitted")
        if password or "password=" in parts.query:
            raise ConfigError(
                "The database's address holds a password, which logs and process lists would show.",
                "Set database.password_file, or PGPASSFILE.",
            )
        return url


class PageSettings(_Table):
    """Hold how to reach the live pages of devices, for images and documents of rolls.

    Attributes:
        url: loom -> address of its page, such as `http://10.0.0.11:8642`, with the camera's name where a
            device has several.
        token_file: its first line is the token of all of them; None for none.
        ca_file: certificates that vouch for them; None for those of the system.
        timeout_s: of connecting, and of a pause.
    """

    url: dict[str, str] = {}
    token_file: OwnPath | None = None
    ca_file: OwnPath | None = None
    timeout_s: float = Field(default=30.0, ge=1, le=600)


class ReleaseSettings(_Table):
    """Hold where releases are published, and when a candidate goes to all looms.

    Attributes:
        folder: with the list and all that it names; a web server offers it to the devices.
        key_file: secret key that signs the list.
        check_s: so often canaries are judged.
        least_found: fraction of the confirmed defects that a candidate has to find again.
        most_more_per_100m: reports that a candidate may have more than the bundle in use, beside confirmed
            defects.
        confidence: of both decisions.
        least_metres: cloth that all canaries together have to inspect.
    """

    folder: OwnPath | None = None
    key_file: OwnPath | None = None
    check_s: float = Field(default=60.0, ge=1, le=86_400)
    least_found: float = Field(default=0.9, gt=0, lt=1)
    most_more_per_100m: float = Field(default=3.0, gt=0, le=1e6)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    least_metres: float = Field(default=200.0, gt=0, le=1e9)


class OfficeSettings(_Table):
    """Hold the settings of `loomsight office`.

    Attributes:
        mqtt: the broker.
        database: PostgreSQL.
        batch_rows: most messages of one transaction.
        batch_s: so long messages are collected for one.
        retention_days: what is older is deleted, roll by roll; None keeps everything.
        time_zone: of the plant: where its days and shifts begin.
        shifts: name -> when it begins, as HH:MM.
        health_port: serve `/metrics` and `/healthz` there; 0 for a free port, None for no server.
        health_host: where to listen for that.
        releases: of bundles and article files.
        pages: of the devices, for images and documents of rolls.
    """

    mqtt: OfficeBroker = OfficeBroker()
    database: DatabaseSettings = DatabaseSettings()
    batch_rows: int = Field(default=500, ge=1, le=100_000)
    batch_s: float = Field(default=0.2, ge=0, le=60)
    retention_days: int | None = Field(default=400, ge=1, le=36_500)
    time_zone: str = "UTC"
    shifts: dict[Name, Clock] = Field(
        default={"early": "06:00", "late": "14:00", "night": "22:00"}, min_length=1
    )
    health_port: int | None = Field(default=None, ge=0, le=65_535)
    health_host: str = Field(default="127.0.0.1", min_length=1)
    releases: ReleaseSettings = ReleaseSettings()
    pages: PageSettings = PageSettings()

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                "a name of the tz database is permitted, for instance Europe/Berlin"
            ) from error
        return name

    @field_validator("shifts")
    @classmethod
    def _differ(cls, shifts: dict[str, str]) -> dict[str, str]:
        if len(set(shifts.values())) < len(shifts):
            raise ValueError("two shifts begin at the same time")
        return shifts


def load_office(file: Path | None, environment: Mapping[str, str] = os.environ) -> OfficeSettings:
    """Resolve settings: defaults, then the file, then the environment; tables there are JSON.

    Raises:
        ConfigError: naming the source, the key and what is permitted.
    """
    named = environment_values(environment, ENVIRONMENT_PREFIX)
    values = {key: _parsed(text) for key, text in named.items()}
    return resolved(OfficeSettings, {str(file): toml_values(file), "the environment": values})


def database_password(settings: DatabaseSettings) -> str | None:
    """Return the password of the file; None where libpq is to find it.

    Raises:
        ConfigError: if the file cannot be read, or others may read it.
    """
    if settings.password_file is None:
        return None
    check_private(settings.password_file, "database.password_file")
    return read_text(settings.password_file, cure="Check database.password_file.").split("\n", 1)[0]


def _parsed(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # refused by the check
        return text

"""Define the table `[opcua]`: how a plant's control system reaches this device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from edge.core.settings import OwnPath

Policy = Literal["Basic256Sha256", "Aes256Sha256RsaPss", "Aes128Sha256RsaOaep", "None"]
"""Security policies as OPC 10000-7 names them; each but `None` signs and encrypts."""

UNENCRYPTED: Final = "None"

ADDRESS: Final = re.compile(r"(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):)?[0-9]{1,5}")


class OpcuaSettings(BaseModel):
    """Hold how the OPC UA server is reached and by whom. Without the table there is no server.

    Attributes:
        listen: `[HOST:]PORT`; without a host only this machine reaches it. 4840 is the usual port.
        folder: of `key.pem`, `certificate.der` and `users`; the first two are made at the first start.
        policies: security that a client may choose. `None` is neither signed nor encrypted, and permits
            reading only.
        anonymous: whether a client may read without a user.
        trusted_only: only clients whose certificate lies in `folder/trusted` may connect.
        machine_stop: whether a user who may change things may stop the machine, with `stop.mode = "on"`.
        most_clients: connections at a time, each with one session.
        most_subscriptions: of all clients together.
        most_items: that all subscriptions of a client watch.
        requests_per_s: of one client; further ones wait. All clients together have four times as many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    listen: str = Field(default="4840", coerce_numbers_to_str=True)
    folder: OwnPath = Path("opcua")
    policies: tuple[Policy, ...] = Field(default=("Basic256Sha256", "Aes256Sha256RsaPss"), min_length=1)
    anonymous: bool = False
    trusted_only: bool = False
    machine_stop: bool = False
    most_clients: int = Field(default=8, ge=1, le=100)
    most_subscriptions: int = Field(default=32, ge=1, le=1000)
    most_items: int = Field(default=500, ge=1, le=10_000)
    requests_per_s: float = Field(default=50.0, ge=1, le=1000)

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        if not ADDRESS.fullmatch(listen) or int(listen.rpartition(":")[2]) > 65535:
            raise ValueError("[HOST:]PORT is permitted, for instance 0.0.0.0:4840")
        return listen

    @model_validator(mode="after")
    def _vouches_for_clients(self) -> Self:
        if self.trusted_only and UNENCRYPTED in self.policies:
            raise ValueError('trusted_only and the policy "None" exclude each other')
        return self

    @property
    def users_file(self) -> Path:
        """Who may do what; see `edge.opcua.users`."""
        return self.folder / "users"

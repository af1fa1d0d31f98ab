"""Real clients of the OPC UA server: the client of asyncua, with a certificate of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties

from edge.opcua.certificate import open_identity
from edge.opcua.nodes import NAMESPACE

ROOT = "VisionSystem"
MODE = "VisionStateMachine.AutomaticModeStateMachine"
PATIENCE_S = 240
"""A busy processor may take minutes for what takes seconds on an idle one."""

USERS = {"anna": ("change", "correct horse battery"), "bob": ("read", "only to look at it")}


class Plant:
    """A client that is connected.

    Attributes:
        client: of asyncua.
        events: that came, as dictionaries of their fields.
    """

    def __init__(self, client: Client, index: int, root: str = ROOT) -> None:
        self.client, self._index, self._root = client, index, root
        self.events: list[dict] = []

    def node(self, path=""):
        name = f"{self._root}.{path}" if path else self._root
        return self.client.get_node(ua.NodeId(name, self._index))

    async def read(self, path):
        return await self.node(path).read_value()

    async def state(self):
        """Return both states; None for one that is not active."""
        return tuple([await self._state(machine) for machine in ("VisionStateMachine", MODE)])

    async def _state(self, machine):
        value = await self.node(f"{machine}.CurrentState").read_data_value(raise_on_bad_status=False)
        return value.Value.Value.Text if value.StatusCode.is_good() else None

    async def call(self, path, *texts):
        """Call a method; returns its outputs."""
        out = await self.node(path.rpartition(".")[0]).call_method(self.node(path), *texts)
        return out if isinstance(out, list) else [out]

    async def until(self, is_so):
        """Wait until something is so; returns what it gives."""
        end_s = time.monotonic() + PATIENCE_S
        while not (found := await is_so()):
            assert time.monotonic() < end_s, f"it is not so: {await self.state()}, {self.events[-3:]}"
            await asyncio.sleep(0.3)
        return found

    async def until_state(self, *state):
        async def is_so():
            return await self.state() == state

        await self.until(is_so)

    async def listen(self):
        """Take in events of the vision system from here on."""
        subscription = await self.client.create_subscription(250, self)
        types = []
        for kind in ("DefectEventType", "ResultReadyEventType", "StateChangedEventType"):
            base = self.client.get_node(ua.ObjectIds.BaseEventType)
            types.append(await base.get_child(f"{self._index}:{kind}"))
        await subscription.subscribe_events(self.node(), types, queuesize=1000)

    def event_notification(self, event):
        self.events.append(event.get_event_props_as_fields_dict() | {"type": event.EventType})

    def came(self, field, **fields):
        """Return the events that have a field, and these values."""
        values = [
            {name: value.Value for name, value in event.items() if isinstance(value, ua.Variant)}
            for event in self.events
        ]
        return [one for one in values if one.get(field) is not None and fields.items() <= one.items()]


async def client_of(url, folder: Path, policy="Basic256Sha256"):
    """Return a client that is not connected; its certificate is made in a folder."""
    client = Client(url, timeout=PATIENCE_S)
    client.session_timeout = 600_000
    if policy is not None:
        identity = open_identity(folder / "client")
        await client.set_security(
            getattr(security_policies, f"SecurityPolicy{policy}"),
            CertProperties(identity.certificate_der, "der"),
            CertProperties(identity.key_pem, "pem"),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
    return client


@asynccontextmanager
async def connected(url, folder: Path, user="anna", *, password=None, policy="Basic256Sha256", root=ROOT):
    """Connect as a user; None for none."""
    client = await client_of(url, folder, policy)
    if user is not None:
        client.set_user(user)
        client.set_password(password or USERS[user][1])
    async with client:
        yield Plant(client, await client.get_namespace_index(NAMESPACE), root)

"""Try the settings of the OPC UA server: serve as a run would, and connect with each security policy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties

from edge.config.opcua import UNENCRYPTED, OpcuaSettings
from edge.core.errors import ConfigError
from edge.opcua.certificate import Identity, open_identity
from edge.opcua.server import BoxServer, Door, keep_quiet
from edge.opcua.users import read_users
from edge.web.address import in_address, parse_address

PATIENCE_S: Final = 30.0

WHY_NOT: Final = (OSError, asyncio.TimeoutError, ua.UaError, ValueError)
"""What a connection that fails raises."""

POLICIES: Final = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
}


def check_server(settings: OpcuaSettings) -> str:
    """Serve for a moment, or look at the server that is there, and open a channel with each policy.

    Returns:
        What was found, for a person.
    Raises:
        ConfigError: if the settings do not suffice, or something else answers at the port.
        OutputError: if key and certificate cannot be written.
    """
    keep_quiet()
    try:
        door = Door(settings)
    except ConfigError as error:
        if not error.problem.startswith("Cannot serve on"):
            raise
        return _checked_running(settings, error)
    try:
        return _said(settings, door.identity, asyncio.run(_tried(door)), "")
    finally:
        door.bound.close()


async def _tried(door: Door) -> list[str]:
    server = BoxServer(door)
    await server.init()
    await server.start()
    try:
        return await _opened(door.url, door.settings, door.identity)
    finally:
        await server.stop()


def _checked_running(settings: OpcuaSettings, taken: ConfigError) -> str:
    """Check the server that holds the port.

    Raises:
        ConfigError: if it is not the one of these settings.
    """
    identity = open_identity(settings.folder)
    address = parse_address(settings.listen)
    host = "127.0.0.1" if address.host == "0.0.0.0" else address.host
    url = f"opc.tcp://{in_address(host)}:{address.port}/"
    try:
        found = asyncio.run(_opened(url, settings, identity))
    except WHY_NOT:
        raise taken from None
    return _said(settings, identity, found, " A server of these settings runs already.")


async def _opened(url: str, settings: OpcuaSettings, identity: Identity) -> list[str]:
    """Open a channel with each policy.

    Raises:
        ConfigError: if one does not open.
    """
    opened: list[str] = []
    for policy in settings.policies:
        client = Client(url, timeout=PATIENCE_S)
        if policy != UNENCRYPTED:
            own = CertProperties(identity.certificate_der, "der")
            key = CertProperties(identity.key_pem, "pem")
            mode = ua.MessageSecurityMode.SignAndEncrypt
            await client.set_security(POLICIES[policy], own, key, None, own, mode)
        await client.connect_socket()
        try:
            await client.send_hello()
            await client.open_secure_channel()
            endpoints = await client.get_endpoints()
            await client.close_secure_channel()
        finally:
            client.disconnect_socket()
        _check_identity(endpoints, identity)
        opened.append(policy)
    return opened


def _check_identity(endpoints: Sequence[ua.EndpointDescription], identity: Identity) -> None:
    """Refuse a server that proves itself with another certificate.

    Raises:
        ValueError: if it does.
    """
    if any(one.ServerCertificate not in (None, identity.certificate_der) for one in endpoints):
        raise ValueError("another certificate")


def _said(settings: OpcuaSettings, identity: Identity, opened: Sequence[str], more: str) -> str:
    users = read_users(settings.users_file) if settings.users_file.exists() else {}
    changing = sum(user.may_change for user in users.values())
    who = f"{len(users)} users, {changing} of them may change things"
    anonymous = " A client without a user may read." if settings.anonymous else ""
    return (
        f"OPC UA on {settings.listen} opens channels with {', '.join(opened)}; {who}.{anonymous}{more}\n"
        f"Application {identity.application_uri}, certificate SHA-256 {identity.fingerprint}"
    )

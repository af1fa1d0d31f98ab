"""Run the OPC UA server in a thread of its own: inspection never waits for it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import Any, Final

from asyncua import Server, ua
from typing_extensions import Self

from edge import __version__
from edge.config.edge import EdgeConfig
from edge.config.opcua import OpcuaSettings
from edge.core.errors import ConfigError
from edge.opcua.certificate import Identity, fingerprint_of, open_identity, trusted_certificates
from edge.opcua.connection import LOGIN_S, MOST_PENDING, BoundedListener
from edge.opcua.control import CameraControl
from edge.opcua.nodes import NAMESPACE
from edge.opcua.results import CameraResults
from edge.opcua.rights import Services
from edge.opcua.sessions import BoxServerCore
from edge.opcua.users import read_users
from edge.opcua.vision_system import EventTypes, VisionSystem
from edge.page.live import LivePage
from edge.process.supervised import HelperThread
from edge.web.address import bound_socket, in_address, parse_address

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""How often clients are told how the run stands."""

END_S: Final = 10.0
LAST_NEWS_S: Final = 0.6
"""Clients get so long to fetch the end of the last roll."""

POLICIES: Final = {
    "Basic256Sha256": ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    "Aes256Sha256RsaPss": ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    "Aes128Sha256RsaOaep": ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    "None": ua.SecurityPolicyType.NoSecurity,
}


class ServedCamera:
    """Hold what is served of one camera, also when the server is started again.

    Args:
        name: of the object of its vision system.
        live: what its run tells.
        machine_stop: whether clients may stop the machine.
    """

    def __init__(self, name: str, live: LivePage, *, machine_stop: bool) -> None:
        self.name = name
        self.live = live
        self.control = CameraControl(live, machine_stop=machine_stop)
        self.results = CameraResults(live)


class Door:
    """Hold what the server needs before it begins: checked, and bound.

    Args:
        settings: of the server.
    Raises:
        ConfigError: if the port is taken, there is no user, or a file is not what it should be.
        OutputError: if key and certificate cannot be written.
    """

    def __init__(self, settings: OpcuaSettings) -> None:
        self.settings = settings
        self.identity: Identity = open_identity(settings.folder)
        self.trusted: frozenset[bytes] | None = None
        if settings.trusted_only:
            own = fingerprint_of(self.identity.certificate_der)  # of `loomsight opcua check`
            self.trusted = trusted_certificates(settings.folder / "trusted") | {own}
        self._check_users()
        address = parse_address(settings.listen)
        self.bound: socket.socket = bound_socket(address.host, address.port, "opcua.listen")
        self.url = f"opc.tcp://{in_address(address.host)}:{self.bound.getsockname()[1]}/"
        self.is_local = address.is_local

    def _check_users(self) -> None:
        file = self.settings.users_file
        if not self.settings.anonymous or file.exists():
            if not file.exists():
                raise ConfigError(
                    f"OPC UA has no user: there is no file {file}.",
                    "Run `loomsight opcua user NAME --config FILE`, or set opcua.anonymous.",
                )
            read_users(file)


class BoxServer(Server):
    """Serve nodes on a socket that was bound before, within bounds.

    Args:
        door: checked settings.
    """

    def __init__(self, door: Door) -> None:
        settings = door.settings
        super().__init__(iserver=BoxServerCore(settings, MOST_PENDING, LOGIN_S))
        self._door = door
        self.set_server_name("loomsight")
        self.application_type = ua.ApplicationType.Server
        self.product_uri = "urn:loomsight"
        self.manufacturer_name = "loomsight"
        self.set_endpoint(door.url)
        self.set_security_policy([POLICIES[one] for one in settings.policies], Services())

    async def init(self, shelf_file: Any = None) -> None:
        """Make the standard nodes, and say who this is."""
        await super().init(shelf_file)
        identity = self._door.identity
        await self.set_application_uri(identity.application_uri)
        await self.set_build_info(
            self.product_uri, "loomsight", "loomsight", __version__, __version__, datetime.now()
        )
        await self.load_certificate(identity.certificate_der, "der")
        await self.load_private_key(identity.key_pem, None, "pem")

    async def start(self) -> None:
        """Begin to answer."""
        await self._setup_server_nodes()
        await self.iserver.start()
        door = self._door
        core = self.iserver
        if not isinstance(core, BoxServerCore):
            raise TypeError("the server has another core")
        self.bserver = BoundedListener(core, door.bound, door.settings.requests_per_s, door.trusted)
        self.bserver.set_policies(self._policies)
        await self.bserver.start()


class OpcuaServer:
    """Serve cameras from entering to leaving.

    Args:
        door: checked settings.
        cameras: what is served.
    """

    def __init__(self, door: Door, cameras: Sequence[ServedCamera]) -> None:
        self._door = door
        self._cameras = cameras
        self._end = threading.Event()
        self._thread = HelperThread("opcua", self._serve, self._end)
        self.is_serving = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(END_S)

    def _serve(self) -> None:
        asyncio.run(self._served())

    async def _served(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_said)
        server = BoxServer(self._door)
        await server.init()
        systems = await self._systems(server)
        await server.start()
        self.is_serving.set()
        logger.info("OPC UA on %s", self._door.url)
        try:
            while not self._end.is_set():
                await _look(systems)
                await asyncio.sleep(LOOK_S)
            await _look(systems)
            if server.iserver.subscription_service.subscriptions:
                await asyncio.sleep(LAST_NEWS_S)
        finally:
            self.is_serving.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(server.stop(), END_S / 2)

    async def _systems(self, server: BoxServer) -> list[VisionSystem]:
        index = await server.register_namespace(NAMESPACE)
        types = await EventTypes.build(server, index)
        systems = []
        for camera in self._cameras:
            one = VisionSystem(server, index, camera.name, camera.live, camera.control, camera.results)
            await one.build(types)
            systems.append(one)
        return systems


async def _look(systems: Sequence[VisionSystem]) -> None:
    for system in systems:
        await system.look()


def serve_opcua(
    settings: OpcuaSettings,
    configs: Mapping[str | None, EdgeConfig],
    lives: Mapping[str | None, LivePage],
    stack: ExitStack,
) -> OpcuaServer:
    """Serve a device until the stack closes. The only camera is `VisionSystem`, several have their names.

    Raises:
        ConfigError: as `Door`, or if a camera has no record to read results from.
        OutputError: as `Door`.
    """
    for name, config in configs.items():
        if config.roll_record is None:
            problem = ConfigError(
                "Results for OPC UA come from a record, and there is none.", "Add --roll-record."
            )
            raise problem.of_camera(name)
    keep_quiet()
    door = Door(settings)
    stack.callback(door.bound.close)
    if not door.is_local and "None" in settings.policies:
        logger.warning("OPC UA is open to the network without encryption: see docs/opcua.md")
    cameras = [
        ServedCamera(name or "VisionSystem", live, machine_stop=settings.machine_stop)
        for name, live in lives.items()
    ]
    return stack.enter_context(OpcuaServer(door, cameras))


def keep_quiet() -> None:
    """Keep what asyncua logs of each request out of the log: a client could fill the disk with it."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)


def _said(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    logger.error("OPC UA: %s%s", context.get("message"), f": {error}" if error else "")
    logger.debug("where it came from", exc_info=error)

"""Run the agent until a signal ends it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.agent.agent import Agent, Place
from edge.bundle.install import Check
from edge.config.agent import AgentSettings
from edge.config.device import CameraSettings
from edge.core.errors import ConfigError
from edge.process.interruption import stopped_by_signals
from edge.process.supervised import HelperThread
from edge.web.source import FolderSource, Server, Source, WebSource

LOOK_S: Final = 0.5


def agent_of(cameras: Sequence[CameraSettings], check: Check) -> tuple[AgentSettings, Agent]:
    """Return the agent of a device.

    Args:
        cameras: of the device.
        check: opens a bundle as edge-run would.
    Raises:
        ConfigError: if the settings name no releases, no key, or no store.
    """
    config = cameras[0].config
    if config.agent is None:
        raise ConfigError("The settings name no releases.", "Set url and folder in [agent].")
    if not config.trust.keys:
        raise ConfigError(
            "No key is trusted, so no release is.", "Set keys in [trust]; see `loomsight bundle key new`."
        )
    settings = config.agent
    return settings, Agent(settings, places_of(cameras), config.trust, source_of(settings), check)


def source_of(settings: AgentSettings) -> Source:
    """Return where the settings say that releases lie.

    Raises:
        ConfigError: if certificates or token cannot be read.
    """
    if settings.url.startswith("/"):
        return FolderSource(Path(settings.url))
    return WebSource(Server(settings.url, settings.timeout_s, settings.ca_file, settings.token_file))


def places_of(cameras: Sequence[CameraSettings]) -> list[Place]:
    """Return the stores of a device, each with the looms of its cameras.

    Raises:
        ConfigError: if a camera has no store.
    """
    looms: dict[tuple[object, object], list[str]] = {}
    for camera in cameras:
        config = camera.config
        if config.model is None:
            raise ConfigError(
                "The settings name no store, and releases go into one.",
                "Set model to a folder such as /var/lib/loomsight/model.",
            )
        root = config.mqtt.root.removeprefix(config.mqtt.prefix.rstrip("/") + "/")
        looms.setdefault((config.model, config.candidate), []).append(root)
    return [Place(tuple(names), *stores) for stores, names in looms.items()]  # type: ignore[arg-type]


def run_agent(settings: AgentSettings, agent: Agent) -> None:
    """Look at the list now and then, until a signal asks for the end."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            agent.look()
            stop.wait(settings.interval_s)

    with stopped_by_signals(stop):
        thread = HelperThread("agent", work, stop)
        thread.start()
        while not stop.wait(LOOK_S):
            pass
        thread.join(settings.timeout_s)

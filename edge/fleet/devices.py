"""Reach the live pages of devices from the office."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config.agent import AgentSettings
from edge.core.errors import ConfigError
from edge.core.web_source import MissingError, WebSource, fetched
from edge.fleet.settings import PageSettings


@dataclass(frozen=True, slots=True)
class Device:
    """Ask the page of one camera."""

    source: WebSource

    def fetch(self, name: str, most_bytes: int) -> bytes:
        """Return what an address answers.

        Raises:
            ReleaseError: if it does not answer, or refuses.
        """
        return fetched(self.source, name, most_bytes)

    def fetch_or_none(self, name: str, most_bytes: int) -> bytes | None:
        """Return what an address answers; None where there is nothing.

        Raises:
            ReleaseError: if it does not answer, or refuses otherwise.
        """
        try:
            return self.fetch(name, most_bytes)
        except MissingError:
            return None


def devices_of(settings: PageSettings) -> dict[str, Device]:
    """Return the devices by loom.

    Raises:
        ConfigError: if none is named, or token or certificates cannot be read.
    """
    if not settings.url:
        raise ConfigError(
            "No page of a device is named.", 'Write [pages.url] with "LOOM" = "http://HOST:PORT".'
        )
    return {loom: Device(_source(url, settings)) for loom, url in settings.url.items()}


def _source(url: str, settings: PageSettings) -> WebSource:
    web = AgentSettings(
        url=url,
        timeout_s=settings.timeout_s,
        ca_file=settings.ca_file,
        token_file=settings.token_file,
        folder=Path(),
    )
    return WebSource(web)

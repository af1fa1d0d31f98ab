"""Define the table `[agent]`: from where a device fetches bundles and article files."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge.core.address import checked_host
from edge.core.errors import ConfigError
from edge.core.settings import OwnPath


class AgentSettings(BaseModel):
    """Hold where the office publishes releases, and where they go.

    Attributes:
        url: `https://host/folder`, or the absolute path of a shared folder.
        interval_s: between two looks at the list.
        timeout_s: of connecting, and of a pause in a download.
        ca_file: certificates that vouch for the server; None for those of the system.
        token_file: its first line is sent as a bearer token; None for none.
        folder: for downloads, and for what the agent has to remember.
        articles: folder of article files, one folder each; None: article files are not fetched.
        same_camera: refuse a bundle that prepares images in another way than the one in use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    url: str = Field(min_length=1, max_length=2000)
    interval_s: float = Field(default=60.0, ge=1, le=86_400)
    timeout_s: float = Field(default=30.0, ge=1, le=600)
    ca_file: OwnPath | None = None
    token_file: OwnPath | None = None
    folder: OwnPath
    articles: OwnPath | None = None
    same_camera: bool = True

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not url.isprintable() or " " in url:
            raise ValueError("it has a space or a control character")
        if url.startswith("/"):
            return url.rstrip("/") or "/"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"{error}; https://host[:port]/folder is permitted") from error
        if "@" in parts.netloc:
            raise ConfigError(
                "The address of the releases holds a password, which logs would show.", "Set token_file."
            )
        if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment:
            raise ValueError("https://host[:port]/folder, or an absolute path, is permitted")
        checked_host(host)
        return url.rstrip("/")

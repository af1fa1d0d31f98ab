"""Find out whether a model can be had from Hugging Face's hub, in seconds and without its retries."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from edge.core.errors import CheckpointError

ANSWER_S: Final = 3.0
"""A hub that cannot be connected to within this is not there: the library tries for most of a minute."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(source: str) -> bool:
    """Tell whether a source names a model on the hub: nothing of that name is here."""
    return bool(_HUB_ID.fullmatch(source)) and not source.startswith(".") and not Path(source).exists()


def check_hub(source: str) -> None:
    """See that a model that is named by its hub id can be had: it is in the cache, or the hub answers.

    Raises:
        CheckpointError: if not.
    """
    if is_hub_id(source) and not _is_cached(source) and not hub_answers():
        raise CheckpointError(
            f"{source} is not in the cache here, and {_host()} does not answer: no network.",
            f"Copy the model to a folder where there is a network (hf download {source} --local-dir "
            "FOLDER) and name it, or label without a hub: --detector shipped, --reference ARTICLE.",
        )


def loading_options(source: str) -> dict[str, Any]:
    """Return options of `from_pretrained`: without a network, what is in the cache is all there is."""
    return {"local_files_only": True} if is_hub_id(source) and not hub_answers() else {}


def hub_answers() -> bool:
    """Tell whether the hub, or the proxy before it, takes a connection."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _connects(*_first_hop())


@lru_cache
def _connects(host: str, port: int) -> bool:
    """Tell whether a host takes a connection; each is asked once in a process."""
    answered: list[bool] = []

    def connect() -> None:
        with suppress(OSError), socket.create_connection((host, port), ANSWER_S):
            answered.append(True)

    asking = Thread(target=connect, name="ask-hub", daemon=True)  # a resolver may take longer than it may
    asking.start()
    asking.join(ANSWER_S)
    return bool(answered)


def _first_hop() -> tuple[str, int]:
    """Return host and port that a request to the hub goes to first."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(_host()):
        address = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return address.hostname or "", address.port or (443 if address.scheme == "https" else 80)


def _host() -> str:
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT


def _is_cached(source: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(source, "config.json"), str)

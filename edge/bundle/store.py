"""Keep installed bundles side by side in a store that says which one is current.

store.json     names the current bundle and the one before it; replaced by one rename
bundles/<id>/  whole bundles that are never changed; the name is the start of their manifest's digest
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.core.errors import ModelError
from edge.core.outside_files import SETTINGS_BYTES, read_bytes

STATE_NAME = "store.json"
BUNDLES_NAME = "bundles"

BundleId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}(-[0-9]+)?$")]
"""A second copy of a bundle whose first one was damaged ends in `-2`."""


class StoreState(BaseModel):
    """Say which bundle of a store is current. Stands in `store.json`.

    Attributes:
        previous: what `rollback` goes back to; None after the first install.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    current: BundleId
    previous: BundleId | None = None


def is_store(path: Path) -> bool:
    """Tell whether something was installed in a folder."""
    try:
        return (path / STATE_NAME).is_file()
    except OSError:  # a folder that may not be looked into: who opens it says so
        return False


def read_state(store: Path) -> StoreState:
    """Read which bundle is current.

    Raises:
        ModelError: if nothing is installed there, or the file is damaged.
    """
    if not is_store(store):
        raise ModelError(
            f"{store} is no store of bundles.", f"Make one with `loomsight bundle install BUNDLE {store}`."
        )
    try:
        return StoreState.model_validate_json(read_bytes(store / STATE_NAME, SETTINGS_BYTES, ModelError))
    except ValidationError as error:
        raise ModelError(
            f"{store / STATE_NAME} does not say which bundle is current.",
            "Delete it and install the bundle again.",
        ) from error


def installed_path(store: Path, bundle_id: str) -> Path:
    """Return the folder of a bundle in a store."""
    return store / BUNDLES_NAME / bundle_id


def bundle_path(path: Path) -> Path:
    """Return the current bundle of a store; any other path is taken as that of the bundle itself.

    Raises:
        ModelError: if the store does not say which one is current.
    """
    return installed_path(path, read_state(path).current) if is_store(path) else path

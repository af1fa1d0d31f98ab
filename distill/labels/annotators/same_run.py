"""Check that a resumed fine-tuning has the data and settings that it was started with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from edge.core.errors import CheckpointError, ConfigError, DatasetError


class RunOrigin(NamedTuple):
    """Say what a fine-tuning was started with.

    Attributes:
        model: fingerprint of the model before it.
        data: digest of the labels.
    """

    model: str
    settings: BaseModel
    data: str


def check_same_run(last: Path, then: RunOrigin, now: RunOrigin) -> None:
    """Compare what a run was started with, according to its file `last`, with what it is to go on with.

    Raises:
        CheckpointError: if that is another model.
        ConfigError: if they are other settings.
        DatasetError: if they are other labels.
    """
    if then.model != now.model:
        raise CheckpointError(
            f"{last} was started from another model.", "Name that one, or start a new run."
        )
    if then.settings != now.settings:
        raise ConfigError(
            f"The run in {last.parent} was started with other settings.", "A resumed run keeps its own."
        )
    if then.data != now.data:
        raise DatasetError(
            "The labels are not those this run was started with.", "Restore them, or start a new run."
        )

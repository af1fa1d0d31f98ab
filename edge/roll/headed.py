"""Give a recorded roll, or the records of all its cameras, the head of its paper."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edge.config.roll_header import header_of
from edge.core.errors import LoomsightError
from edge.roll.contents import Roll
from edge.roll.headers import keep_header

logger = logging.getLogger(__name__)


def with_header(records: Sequence[Path], roll: Roll, words: Iterable[str]) -> Roll:
    """Return a roll with what a command line says of its head, which is kept in its records.

    Args:
        records: of the cameras beside each other, in the order of the roll's id.
        roll: as it was read from them.
        words: `KEY=TEXT`.
    Raises:
        ConfigError: if a word is not permitted.
    """
    given = header_of(words).given()
    if not given:
        return roll
    for path, roll_id in zip(records, str(roll.head["roll_id"]).split("+"), strict=True):
        try:
            keep_header(path, roll_id, given)
        except LoomsightError as error:
            logger.warning("the head of the paper is not kept with the roll: %s", error)
    return replace(roll, header={**roll.header, **given})

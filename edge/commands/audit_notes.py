"""Note in the audit log of a device what a command did to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.config.device import CameraSettings

logger = logging.getLogger(__name__)


def note_command(cameras: Sequence[CameraSettings], kind: str, **data: Any) -> None:
    """Write an entry, where the settings name an audit log or a roll record.

    Raises:
        OutputError: if it cannot be written; what the command did stays done.
    """
    from edge.app.audit import audit_log
    from edge.audit.entry import Note
    from edge.audit.who import command_line
    from edge.core.errors import OutputError
    from edge.roll.audit_heads import anchor

    log = audit_log(cameras)
    if log is None:
        logger.info("the settings name no audit log: no entry says that this was done")
        return
    try:
        head = log.append([Note(command_line(), kind, {k: v for k, v in data.items() if v is not None})])
    except OutputError as error:
        raise OutputError(
            f"It is done ({kind}), and no entry says so. {error.problem}", error.cure
        ) from error
    logger.info("audit log %s: entry %d, %s", log.path, head.number, kind)
    for record in {one.config.roll_record for one in cameras}:
        if record is not None and record.is_file():
            anchor(record, log.path.name, head)

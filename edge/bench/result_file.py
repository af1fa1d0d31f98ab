"""Write the result of a benchmark; whether that can be done is known before anything is measured."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.core.files import check_not_a_folder, check_writable, is_stream, set_aside, write_whole

logger = logging.getLogger(__name__)


def check_result_file(file: Path | None) -> None:
    """See, as far as possible, that a result can be written; None for one that is only printed.

    Raises:
        OutputError: if not.
    """
    if file is not None and not is_stream(file):
        check_not_a_folder(file)
        check_writable(file.parent)


def write_result(result: Mapping[str, Any], file: Path | None) -> None:
    """Write a result as JSON; an earlier one there is set aside.

    Raises:
        OutputError: if it cannot be written.
    """
    if file is not None:
        set_aside(file)
        write_whole(file, json.dumps(result, indent=1).encode() + b"\n")
        logger.info("result in %s", file)

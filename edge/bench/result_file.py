"""Write the result of a benchmark and on what it was measured; check first that it can be written."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.backends.description import BackendDescription
from edge.backends.probe import available_cores, processor_name
from edge.core.contract import ModelContract
from edge.core.files import check_not_a_folder, check_writable, is_stream, set_aside, write_whole

logger = logging.getLogger(__name__)


def measured_on(description: BackendDescription, contract: ModelContract) -> dict[str, Any]:
    """Return on what a model was measured: the device, what runs the network, the libraries beside it."""
    return {
        "processor": processor_name(),
        "cores": available_cores(),
        "runtime": description.runtime,
        "device": description.device,
        "precision": description.precision,
        "input_hw_px": list(contract.input_size_hw_px),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }


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

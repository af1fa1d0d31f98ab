"""Check the file of a network before a runtime reads it: present, readable, regular, not too long."""

from __future__ import annotations

import os
from pathlib import Path

from edge.core.errors import ModelError
from edge.core.outside_files import MODEL_BYTES, open_outside

CURE = "Check the path, and that the user of this program may read it; or copy the whole bundle again."


def checked_model_bytes(model_path: Path) -> int:
    """Return the size of an ONNX file.

    Raises:
        ModelError: if it is missing, may not be read, is no regular file, or longer than a model can be.
    """
    if not os.path.lexists(model_path):
        raise ModelError(f"There is no model at {model_path}.", "Check the path.")
    with open_outside(model_path, MODEL_BYTES, ModelError, CURE) as stream:
        return os.fstat(stream.fileno()).st_size

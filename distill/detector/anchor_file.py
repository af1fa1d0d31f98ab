"""Anchors as a recipe names them: numbers, or a file that `loomsight anchors` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_anchors(value: Any) -> Any:
    """Return the anchors that a recipe means; what is not the name of a file is given back as it is.

    Raises:
        ValueError: if a file cannot be read or holds none.
    """
    if not isinstance(value, (str, Path)):
        return value
    try:
        content = json.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not JSON"
        raise ValueError(f"{value} cannot be read ({reason})") from error
    anchors = content.get("anchors") if isinstance(content, dict) else content
    if not isinstance(anchors, list):
        raise ValueError(f"{value} holds no list 'anchors'")
    return anchors

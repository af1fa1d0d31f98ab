"""Read the anchors that a recipe names: numbers, or a file that `loomsight anchors` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.core.errors import ConfigError
from edge.core.outside_documents import read_json


def read_anchors(value: Any) -> Any:
    """Return the anchors that a recipe means; what is not the name of a file is given back as it is.

    Raises:
        ValueError: if a file cannot be read or holds none.
    """
    if not isinstance(value, (str, Path)):
        return value
    try:
        content = read_json(Path(value))
    except ConfigError as error:
        raise ValueError(error.problem.rstrip(".")) from error
    anchors = content.get("anchors") if isinstance(content, dict) else content
    if not isinstance(anchors, list):
        raise ValueError(f"{value} holds no list 'anchors'")
    return anchors

"""What golden tests compare with: files in this folder, written by `pytest tests/golden --regenerate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CURE = "if the change is meant, run `pytest tests/golden --regenerate` and read the diff"


class Stored:
    """Give what a file of this folder holds, or write it first.

    Args:
        regenerate: write what is asked about in place of what stands there.
    """

    def __init__(self, regenerate: bool) -> None:
        self._regenerate = regenerate

    def text(self, name: str, now: str) -> str:
        """Return the stored text; `now` is what the code gives today."""
        path = FOLDER / name
        if self._regenerate:
            path.parent.mkdir(exist_ok=True)
            path.write_text(now, encoding="utf-8")
        assert path.is_file(), f"{name} is missing: {CURE}"
        return path.read_text(encoding="utf-8")

    def value(self, name: str, now: Any) -> Any:
        """Return the stored JSON value."""
        return json.loads(self.text(name, json.dumps(now, indent=1) + "\n"))

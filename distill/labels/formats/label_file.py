"""Locate the label file of an image."""

from __future__ import annotations

from pathlib import Path


def label_file(image: Path) -> Path:
    """Return where an image's labels lie, as ultralytics has it: the last folder images becomes labels."""
    parts = list(image.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")

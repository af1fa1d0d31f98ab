"""Draw the cost of each layer of a network, as bars on a terminal and as an SVG image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from edge.core.errors import ModelError
from edge.core.files import set_aside, write_whole
from edge.core.palette import BLUE, ORANGE, WHITE

BAR_CHARACTERS = 30
ROW_PX, NAME_PX, BAR_PX = 18, 110, 320
COLOURS = {"macs": BLUE, "parameters": ORANGE}


def bar(value: float, greatest: float) -> str:
    """Draw a value as a bar of at most `BAR_CHARACTERS`; one that is not 0 shows at least half a block."""
    if not greatest or not value:
        return ""
    halves = max(1, round(2 * BAR_CHARACTERS * value / greatest))
    return "█" * (halves // 2) + "▌" * (halves % 2)


def write_image(layers: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write the layers as an SVG with two bars each: MACs and weights.

    Raises:
        ModelError: if the bundle does not say what its layers cost.
        OutputError: if the file cannot be written.
    """
    if not layers:
        raise ModelError("This bundle does not say what its layers cost.", "Export it with this version.")
    set_aside(file)
    write_whole(file, svg_of(layers).encode())


def svg_of(layers: Sequence[Mapping[str, Any]]) -> str:
    """Draw layers from the input down: blue for MACs, orange for weights."""
    width, height = NAME_PX + 2 * (BAR_PX + 70), ROW_PX * (len(layers) + 2)
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="{WHITE.hex}"/>',
    ]
    for column, (key, colour) in enumerate(COLOURS.items()):
        left = NAME_PX + column * (BAR_PX + 70)
        greatest = max(layer[key] for layer in layers) or 1
        total = sum(layer[key] for layer in layers)
        rows.append(f'<text x="{left}" y="{ROW_PX - 4}">{key}, {total / 1e6:.2f} M in all</text>')
        for number, layer in enumerate(layers, start=1):
            top, length = number * ROW_PX, BAR_PX * layer[key] / greatest
            rows.append(
                f'<rect x="{left}" y="{top + 3}" width="{length:.1f}" height="13" fill="{colour.hex}"/>'
                f'<text x="{left + length + 4:.1f}" y="{top + 14}">{layer[key] / 1e6:.3f}</text>'
            )
    rows += [
        f'<text x="4" y="{number * ROW_PX + 14}">{escape(str(layer["name"]))}</text>'
        for number, layer in enumerate(layers, start=1)
    ]
    return "\n".join([*rows, "</svg>", ""])

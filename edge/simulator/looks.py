"""Say what a look is: the style of its cloth and the kinds of its defects."""

from __future__ import annotations

from collections.abc import Mapping

from edge.simulator.kinds import KINDS, Kind
from edge.simulator.options import Look, LoomOptions
from edge.simulator.style import ClothStyle, draw_style
from edge.simulator.woven.article import draw_article
from edge.simulator.woven.kinds import WOVEN_KINDS

KINDS_OF: Mapping[Look, Mapping[str, Kind]] = {"drawn": KINDS, "woven": WOVEN_KINDS}
"""Of each look: the same categories, drawn otherwise."""


def style_of(options: LoomOptions) -> ClothStyle:
    """Draw the style of a roll in its look."""
    return draw_article(options) if options.look == "woven" else draw_style(options)

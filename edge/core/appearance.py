"""Hold what the image inside the box of a defect shows, as numbers: see `edge.cloth.appearance`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Appearance:
    """Describe what stands out of the cloth within a box. Lengths are millimetres on the cloth.

    Attributes:
        fill: ratio of the box that stands out, 0 to 1.
        straight_along: how much of what stands out lies above one another in a single line along the warp:
            about 1 for a straight yarn or one blotch, little for a yarn that sways.
        straight_across: the same along the weft.
        sway_mm: breadth of the ellipse around all that stands out: of a straight line its thickness, of one
            that sways how far.
        thickness_mm: diameter of the largest circle within what stands out, small details smoothed away.
        weave: fine contrast where the defect is over that of the cloth around: 1 where the weave shows
            through, less where it is gone or covered.
        lighter, darker: how far the lightest and the darkest parts lie off the cloth around, in deviations
            of that.
    """

    fill: float
    straight_along: float
    straight_across: float
    sway_mm: float
    thickness_mm: float
    weave: float
    lighter: float
    darker: float

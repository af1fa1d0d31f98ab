"""Both looks of simulated cloth beside each other, and the articles that only the woven look has."""

from __future__ import annotations

from typing import Any

from canvas import below, beside, captioned

from edge.core.image import Image
from edge.simulator.loom import Loom
from edge.simulator.options import WEAVES, Look, LoomOptions

SIDE_PX = 200
FIRST_SEED = 101


def draw_looks() -> Image:
    """Draw rolls of each weave in the drawn look, the same seeds in the woven look, stripes and checks."""
    rows = [
        [_piece(look, FIRST_SEED + number, weave=weave) for number, weave in enumerate(WEAVES * 2)]
        for look in ("drawn", "woven")
    ]
    patterned = [
        _piece("woven", FIRST_SEED + number, pattern=pattern, colour=colour)
        for number, (pattern, colour) in enumerate(
            (
                ("stripes", False),
                ("stripes", True),
                ("checks", False),
                ("checks", True),
                ("solid", True),
                ("checks", True),
            )
        )
    ]
    return below([beside(row) for row in (*rows, patterned)], gap_px=0)


def _piece(look: Look, seed: int, **settings: Any) -> Image:
    """Weave a piece of clean cloth and name it."""
    options = {
        "seed": seed,
        "look": look,
        "width_px": SIDE_PX,
        "texture_lines": SIDE_PX,
        "defects_per_m": 0,
    }
    beds = {"bed_left_mm": -50, "bed_right_mm": -50}
    asked = LoomOptions.model_validate({"pattern": "solid"} | options | beds | settings)
    loom = Loom(asked)
    pitches = f"{loom.style.warp_pitch_px:.1f} x {loom.style.weft_pitch_px:.1f} px"
    name = loom.style.weave if asked.pattern == "solid" else str(asked.pattern)
    return captioned(loom.render(0, SIDE_PX), [f"{look}: {name}", pitches])

"""Let defects fade into the cloth around them: no edge where their ground truth ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edge.simulator.patch import Figure
from edge.simulator.planes import as_plane

LEAST_SHADE = 0.1
"""Of the peak: what is fainter is taken back to nothing, smoothly: boxes end where something is seen."""

LEAST_FADE = 0.1


def softened(shade: ArrayLike, fade: ArrayLike, lit: float = 0.0) -> Figure:
    """Return a figure whose shade and fade reach 0 where its body ends.

    Args:
        shade: (H, W), the brightness added, of any peak.
        fade: (H, W) in [0, 1], how much of the weave disappears.
        lit: fraction of the shade that brightens and darkens the yarns in proportion, as light and dye do.
    """
    shade, fade = as_plane(shade), as_plane(fade)
    shade = shade / max(float(np.abs(shade).max()), 1e-6)
    seen = np.maximum(np.abs(shade) - LEAST_SHADE, 0) / (1 - LEAST_SHADE)
    hidden = np.maximum(fade - LEAST_FADE, 0) / (1 - LEAST_FADE)
    return Figure(as_plane(np.sign(shade) * seen), as_plane(hidden), (seen > 0) | (hidden > 0), lit)

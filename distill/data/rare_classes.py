"""Show tiles of rare classes more often: repeat factors (Gupta et al., LVIS, CVPR 2019).

A class that a fraction f of the tiles with defects shows, below the fraction t that is asked for, is
repeated sqrt(t / f) times; a tile takes the greatest factor of its classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def repeat_factors(classes_of_tiles: Sequence[frozenset[int]], fraction: float) -> NDArray[np.float64]:
    """Return how often each tile is to be shown, >= 1.

    Args:
        classes_of_tiles: class ids that each tile with a defect shows.
        fraction: t, in [0, 1]; 0 repeats nothing.
    """
    total = len(classes_of_tiles)
    shows = [class_id for classes in classes_of_tiles for class_id in classes]
    factor_of = {
        class_id: max(1.0, float(np.sqrt(fraction * total / shows.count(class_id))))
        for class_id in set(shows)
    }
    return np.array([max(factor_of[class_id] for class_id in classes) for classes in classes_of_tiles])


def repeated(
    tiles: NDArray[np.int64], factors: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Repeat tiles; what is left of a factor after its whole part is a chance of once more.

    How many come out depends on the factors alone: every epoch is as long as the first.
    """
    times = np.floor(factors).astype(int)
    left = factors - times
    extra = round(float(left.sum()))
    if extra:
        drawn = rng.choice(len(tiles), size=extra, replace=False, p=left / left.sum())
        times[drawn] += 1
    return np.repeat(tiles, times)

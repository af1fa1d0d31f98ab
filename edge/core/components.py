"""Label the connected components of a relation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def components(count: int, pairs: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Label connected components by union-find: each element gets the smallest one of its component.

    Args:
        count: of elements.
        pairs: of positions of elements that belong together.
    Returns:
        (count,) int64.
    """
    parent = list(range(count))

    def root(element: int) -> int:
        while parent[element] != element:
            parent[element] = parent[parent[element]]
            element = parent[element]
        return element

    for i, j in pairs:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    return np.array([root(element) for element in range(count)], np.int64)

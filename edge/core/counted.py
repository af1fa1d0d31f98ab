"""Write a number with the noun that it counts."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return for instance `1 defect`, `2 defects` or `2 boxes`.

    Args:
        number: how many.
        noun: of one.
        plural: of several, where that is not the noun with an s, or with es after an x.
    """
    several = plural or f"{noun}{'es' if noun.endswith('x') else 's'}"
    return f"{number} {noun if number == 1 else several}"


def of_all(number: int, total: int, noun: str) -> str:
    """Return how many of all, as in `1 of 3 defects`: the noun goes with the total."""
    return f"{number} of {counted(total, noun)}"

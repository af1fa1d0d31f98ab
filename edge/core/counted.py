"""Write a number with the noun that it counts."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return for instance `1 defect` or `2 defects`.

    Args:
        number: how many.
        noun: of one.
        plural: of several, where that is not the noun with an s.
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"

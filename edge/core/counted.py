"""Spell numbers of things."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    ending = "" if number == 1 else "es" if noun.endswith("x") else "s"
    return f"{number} {noun}{ending}"


def of_all(number: int, total: int, noun: str) -> str:
    """Return how many of all: the noun goes with the total."""
    return f"{number} of {counted(total, noun)}"

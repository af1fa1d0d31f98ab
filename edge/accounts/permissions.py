"""Say which role may do what. This table is the only place; docs/users.md shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Role = Literal["operator", "shift-lead", "engineer"]
"""From the one that may do least to the one that may do everything."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

LEAST_ROLE: Final[Mapping[str, Role]] = {
    "POST /reviews": "operator",
    "POST /rolls": "shift-lead",
    "PUT /api/v1/article": "shift-lead",
    "POST /marks": "shift-lead",
    "POST /teaching": "engineer",
}
"""Each request that changes something on the page of a camera: the role that it needs at least."""

CHANGES: Final[Mapping[str, str]] = {
    "POST /reviews": "give a verdict",
    "POST /rolls": "start a roll",
    "PUT /api/v1/article": "choose an article",
    "POST /marks": "strike out a place of teaching",
    "POST /teaching": "teach an article",
}
"""The same in words."""


def least_role(address: str) -> Role:
    """Return the role that a request needs; of one that the table lacks, the one that may do everything."""
    return LEAST_ROLE.get(address, "engineer")


def may(role: Role, address: str) -> bool:
    """Tell whether a role may make a request that changes something."""
    return ROLES.index(role) >= ROLES.index(least_role(address))

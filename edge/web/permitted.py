"""Let a request change something only if the role of who makes it may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from edge.accounts.guard import Person
from edge.accounts.permissions import CHANGES, least_role, may
from edge.web.responses import RefusedError

PERSON: Final = "person"
"""Name under which the door keeps, in the state of a request, whose token it has."""

Answer = Callable[[Request], Response | Awaitable[Response]]


def person_of(request: Request) -> Person:
    """Return who makes a request that came through the door with a token.

    Raises:
        RefusedError: if it had none.
    """
    person = getattr(request.state, PERSON, None)
    if not isinstance(person, Person):
        raise RefusedError(401, "This needs a token.")
    return person


def permitted(address: str, answer: Callable[[Request], Awaitable[Response]]) -> Answer:
    """Return what answers a request that changes something, if the person may make it.

    Args:
        address: method and path, as the table of permissions has it.
        answer: what is done then.
    """

    async def answered(request: Request) -> Response:
        person = person_of(request)
        if not may(person.role, address):
            what = CHANGES.get(address, "do this")
            raise RefusedError(
                403, f"To {what} needs the role {least_role(address)}; {person.name} is {person.role}."
            )
        return await answer(request)

    return answered

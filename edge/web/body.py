"""Read bodies of requests whole, within a size and a time, and check them against a model."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive

from edge.web.responses import RefusedError

BODY_TIMEOUT_S: Final = 5.0

Asked = TypeVar("Asked", bound=BaseModel)


async def with_whole_body(headers: Headers, receive: Receive, most_bytes: int) -> Receive:
    """Read a body, if there is one.

    Args:
        headers: of the request.
        receive: gives the body in parts.
        most_bytes: a longer one is refused.
    Returns:
        What gives the body once more, and then whatever else is received.
    Raises:
        RefusedError: if it is too large, or does not come in time.
    """
    declared = headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or len(declared) > 18:
        raise RefusedError(400, "The length of the body is no number.")
    if int(declared) > most_bytes:
        raise RefusedError(413, "The body is too large.")
    if declared.strip("0") == "" and "transfer-encoding" not in headers:
        return receive
    try:
        body = await asyncio.wait_for(_read(receive, most_bytes), BODY_TIMEOUT_S)
    except asyncio.TimeoutError as error:
        raise RefusedError(408, "The body did not come in time.") from error
    return _again(body, receive)


async def asked_for(request: Request, kind: type[Asked], problem: str) -> Asked:
    """Return what a request with a JSON body asks for.

    Args:
        request: that came through the door.
        kind: model of the body.
        problem: what to say of any other body.
    Raises:
        RefusedError: if the body is no such thing.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "The body has to be JSON.")
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise RefusedError(422, problem) from error


async def _read(receive: Receive, most_bytes: int) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(400, "The body has no end.")
        body += bytes(message.get("body", b""))
        if len(body) > most_bytes:
            raise RefusedError(413, "The body is too large.")
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    kept: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return kept.pop() if kept else await receive()

    return give

"""Refuse a request with a status and one sentence, as JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

RETRY_S = "4"
"""What is told to who comes while there is no place."""


class JsonAnswer(JSONResponse):
    """Answer with JSON in ASCII, as a name of a file may hold what is no text."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class RefusedError(Exception):
    """Say why a request is not answered.

    Args:
        status: of HTTP.
        problem: one line.
    """

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem

    def answer(self) -> JsonAnswer:
        """Return the answer; the connection ends with it, as its body may not have been read."""
        headers = {"Connection": "close"}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == 503:
            headers["Retry-After"] = RETRY_S
        return JsonAnswer({"problem": self.problem}, self.status, headers)

"""Describe the addresses under `/api/v1` as an OpenAPI document, from the values that they answer with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from edge.page.api_values import (
    MOST_ON_A_PAGE,
    ON_A_PAGE,
    ArticleAnswer,
    ArticleList,
    DefectList,
    Problem,
    RollGrading,
    RollList,
    WantedArticle,
)
from edge.roll.document import RollDocument

VERSION: Final = "1.0"
"""Of the interface. The second number rises with each field or address that is added; with a change that a
program must know of, the address begins with `/api/v2`."""

REFUSALS: Final = {
    "400": "The device is called by a name that is not its own.",
    "401": "The token is missing or wrong.",
    "403": "Another page asks for this.",
    "404": "There is no such roll, or no such image.",
    "409": "It cannot be done as things are now.",
    "413": "The body is too large.",
    "415": "The body is no JSON.",
    "422": "A parameter or the body is not as described here.",
    "503": "The record cannot be read now, or too many connections are open.",
}
"""Status to why; which of them an operation has depends on what it takes."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Describe an address.

    Attributes:
        name: of the method of `PlantApi` that answers.
        answer: what it answers with; `statuses` to why.
        takes: the body; None for none.
        is_paged: whether it takes `offset` and `limit`.
        media: what it answers with where that is no JSON.
    """

    name: str
    method: str
    path: str
    summary: str
    answer: type[BaseModel] | None
    statuses: tuple[tuple[str, str], ...] = (("200", "What was asked for."),)
    takes: type[BaseModel] | None = None
    is_paged: bool = False
    media: str | None = None

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"


OPERATIONS: Final = (
    Operation("rolls", "GET", "/api/v1/rolls", "Rolls of the record", RollList, is_paged=True),
    Operation("roll", "GET", "/api/v1/rolls/{roll_id}", "Report of a roll", RollDocument),
    Operation(
        "defects",
        "GET",
        "/api/v1/rolls/{roll_id}/defects",
        "Defects of a roll",
        DefectList,
        is_paged=True,
    ),
    Operation(
        "frame_image",
        "GET",
        "/api/v1/defects/{event_id}/image",
        "The saved image that shows a defect, as the network saw it",
        None,
        media="image/png",
    ),
    Operation("grade", "GET", "/api/v1/rolls/{roll_id}/grade", "Grade of a roll", RollGrading),
    Operation("articles", "GET", "/api/v1/articles", "Articles that are known", ArticleList),
    Operation(
        "want_article",
        "PUT",
        "/api/v1/article",
        "Choose the article on the loom",
        ArticleAnswer,
        (("200", "It is on the loom already."), ("202", "A roll of it begins, within moments.")),
        takes=WantedArticle,
    ),
)


def openapi(prefix: str, version: str) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1).

    Args:
        prefix: of the camera's addresses, `/left` for instance; empty for the only camera.
        version: of loomsight.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "loomsight",
            "version": VERSION,
            "description": f"Rolls, defects and grades of one camera. Served by loomsight {version}.",
        },
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas() -> dict[str, Any]:
    answers = {one.answer for one in OPERATIONS if one.answer is not None} | {Problem}
    bodies = {operation.takes for operation in OPERATIONS if operation.takes is not None}
    _, found = models_json_schema(
        [
            *((model, "serialization") for model in sorted(answers, key=lambda one: one.__name__)),
            *((model, "validation") for model in sorted(bodies, key=lambda one: one.__name__)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": "From this device itself, reading needs no token."
        if operation.is_read
        else "Needs the token.",
        "security": [{"token": []}, *([{}] if operation.is_read else [])],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.takes is not None:
        described["requestBody"] = {"required": True, "content": _json(operation.takes)}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{roll_id}" in operation.path:
        text = "Id of the roll, or `current` for the one on the loom."
        found.append(_parameter("roll_id", "path", text, {"type": "string"}))
    if "{event_id}" in operation.path:
        found.append(_parameter("event_id", "path", "Id of the defect.", {"type": "string"}))
    if operation.is_paged:
        first: dict[str, Any] = {"type": "integer", "minimum": 0, "default": 0}
        most = {"type": "integer", "minimum": 1, "maximum": MOST_ON_A_PAGE, "default": ON_A_PAGE}
        found.append(_parameter("offset", "query", "How many to leave out before the first.", first))
        found.append(_parameter("limit", "query", "How many to give at most.", most))
    if operation.is_read:
        text = "ETag of an earlier answer: 304 if it still holds."
        found.append(_parameter("If-None-Match", "header", text, {"type": "string"}))
    return found


def _parameter(name: str, where: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": text,
        "schema": schema,
    }


def _responses(operation: Operation) -> dict[str, Any]:
    tag = {"ETag": {"description": "Of what is answered.", "schema": {"type": "string"}}}
    good = {
        status: {"description": why, "content": _content(operation)}
        | ({"headers": tag} if operation.is_read else {})
        for status, why in operation.statuses
    }
    if operation.is_read:
        good["304"] = {"description": "The answer with that ETag still holds."}
    absent = set() if "{" in operation.path else {"404"}
    absent |= {"413", "415"} if operation.takes is None else set()
    absent |= set() if operation.takes is not None or operation.is_paged else {"422"}
    return good | {
        status: {"description": why, "content": _json(Problem)}
        for status, why in REFUSALS.items()
        if status not in absent
    }


def _content(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {operation.media or "application/octet-stream": {}}
    return _json(operation.answer)


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}

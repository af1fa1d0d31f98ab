"""What the programs of a plant are answered, and what not: on a real roll record."""

from __future__ import annotations

import copy
from pathlib import Path

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from edge.core.errors import ConfigError
from edge.page.api import PlantApi
from edge.page.openapi import OPERATIONS, openapi
from edge.pipeline.changes import RollChanges
from edge.pipeline.run_state import RunState
from edge.roll.document import RollDocument, json_schema
from edge.roll.reading import read_roll
from edge.roll.values import RollHead
from tests.unit.edge.page.pages import passed, plain_page, recorded_page
from tests.unit.edge.page.test_app import KEY, NETWORK, client_of, page

API = "/api/v1"


class Asked(RollChanges):
    """Take requests, and note them."""

    def __init__(self, refuses=None):
        super().__init__()
        self.asked, self._refuses = [], refuses

    def ask(self, request, last_frame_id=None):
        if self._refuses:
            raise ConfigError(self._refuses, "Name another one.")
        is_new = request.request_id not in [one.request_id for one in self.asked]
        self.asked += [request] if is_new else []
        return is_new


@pytest.fixture
def client(tmp_path):
    with page(tmp_path) as one:
        one.live.changes = Asked()
        yield one


def test_the_openapi_document_is_one_and_names_every_address(client):
    answer = client.get(f"{API}/openapi.json").json()
    OpenAPIV31SpecValidator(answer).validate()
    described = {
        f"{method.upper()} {path}" for path, methods in answer["paths"].items() for method in methods
    }
    api = PlantApi(client.live, None)
    assert described | {f"GET {API}/openapi.json"} == set(api.addresses()) | set(api.changes())
    assert answer["servers"] == [{"url": "/"}]
    assert openapi("/left", "1")["servers"] == [{"url": "/left"}]


def test_a_broken_document_is_found():
    broken = copy.deepcopy(openapi("", "1"))
    del broken["paths"][f"{API}/rolls"]["get"]["responses"]
    broken["info"].pop("title")
    with pytest.raises(Exception, match="title"):
        OpenAPIV31SpecValidator(broken).validate()


JSON_READ = [one for one in OPERATIONS if one.is_read and one.answer is not None]


@pytest.mark.parametrize("operation", JSON_READ, ids=lambda one: one.name)
def test_every_answer_is_as_the_document_describes_it(client, operation):
    document = client.get(f"{API}/openapi.json").json()
    answer = client.get(operation.path.format(roll_id="current"))
    assert answer.status_code == 200, answer.text
    described = document["paths"][operation.path]["get"]["responses"]["200"]
    schema = described["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(
        answer.json()
    )


def test_a_roll_is_its_report(client):
    roll_id = client.recorder.roll_id
    answer = client.get(f"{API}/rolls/{roll_id}").json()
    jsonschema.Draft202012Validator(json_schema()).validate(answer)
    document = RollDocument.model_validate(answer)
    assert document.technical.roll_id == roll_id
    assert document.header.roll == "A17"
    assert client.get(f"{API}/rolls/current").json()["defects"] == answer["defects"]
    grade = client.get(f"{API}/rolls/{roll_id}/grade").json()
    assert grade["grading"] == answer["grading"]
    assert grade["inspection"] == answer["inspection"]


def test_a_saved_image_is_given_as_it_was_saved(client):
    shown = next(row for row in read_roll(client.recorder.path, None).defects if row.image is not None)
    answer = client.get(f"{API}/defects/{shown.event_id}/image")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == Path(shown.image).read_bytes()
    tag = {"If-None-Match": answer.headers["ETag"]}
    assert client.get(f"{API}/defects/{shown.event_id}/image", headers=tag).status_code == 304
    Path(shown.image).unlink()
    for event_id in (shown.event_id, "0" * 32, "..%2f..%2fetc%2fpasswd"):
        assert client.get(f"{API}/defects/{event_id}/image").status_code == 404


def test_lists_come_in_parts(client):
    roll_id = client.recorder.roll_id
    whole = client.get(f"{API}/rolls/{roll_id}/defects").json()
    assert (whole["total"], whole["following"], len(whole["defects"])) == (3, None, 3)
    ids = {row.event_id for row in read_roll(client.recorder.path, None).defects}
    assert {one["event_id"] for one in whole["defects"]} == ids
    first = client.get(f"{API}/rolls/{roll_id}/defects?limit=2").json()
    assert first["following"] == 2
    rest = client.get(f"{API}/rolls/{roll_id}/defects?limit=2&offset=2").json()
    assert first["defects"] + rest["defects"] == whole["defects"]
    assert client.get(f"{API}/rolls/{roll_id}/defects?offset=99").json()["defects"] == []


def test_rolls_are_listed_the_last_first(client):
    head = RollHead("loom", "a" * 64, {}, "A18", "satin")
    state = RunState()
    client.recorder.change_roll(client.run.coverage, None, head, "operator")
    client.recorder.add([], passed(state, 0).coverage, None)
    listed = client.get(f"{API}/rolls").json()
    assert [one["roll"] for one in listed["rolls"]] == ["A18", "A17"]
    assert [one["status"] for one in listed["rolls"]] == ["running", "finished"]
    assert listed["rolls"][1]["defects"] == 3
    assert client.get(f"{API}/rolls?limit=1").json()["following"] == 1
    articles = client.get(f"{API}/articles").json()
    assert {one["name"]: one["rolls"] for one in articles["articles"]} == {"twill": 1, "satin": 1}


def test_what_the_client_has_is_not_sent_again(client):
    first = client.get(f"{API}/rolls/current")
    again = client.get(f"{API}/rolls/current", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    client.recorder.event("camera silent", "no frame for 9 s")
    client.recorder.add([], client.run.coverage, None)
    assert client.recorder.is_blocked is False
    other = client.get(f"{API}/rolls/current", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{API}/rolls/{'0' * 32}", 404),
        (f"{API}/rolls/A17", 404),
        (f"{API}/rolls/{'0' * 32}/defects", 404),
        (f"{API}/rolls?limit=0", 422),
        (f"{API}/rolls?limit=501", 422),
        (f"{API}/rolls?offset=-1", 422),
        (f"{API}/rolls?offset=1e9", 422),
        (f"{API}/rolls?page=2", 422),
        (f"{API}/nothing", 404),
    ],
)
def test_what_is_not_there(client, path, status):
    assert client.get(path).status_code == status


def test_an_article_is_wanted_with_the_token_only(client):
    wanted = {"article": "satin"}
    assert client.put(f"{API}/article", json=wanted).status_code == 401
    assert client.live.changes.asked == []
    answer = client.put(f"{API}/article", json=wanted, headers=KEY)
    assert (answer.status_code, answer.json()["is_changing"]) == (202, True)
    request = client.live.changes.asked[0]
    assert (request.by, request.article, request.name) == ("rest", "satin", None)


def test_the_same_request_is_done_once(client):
    wanted = {"article": "satin", "roll": "B1", "id": "0" * 31 + "a"}
    answers = [client.put(f"{API}/article", json=wanted, headers=KEY).json() for _ in range(2)]
    assert [one["repeated"] for one in answers] == [False, True]
    assert len(client.live.changes.asked) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"article": ""}, 422),
        ({"article": "a\nb"}, 422),
        ({"article": "satin", "id": "x"}, 422),
        ({"article": "satin", "grade": "first"}, 422),
        ({"article": "s" * 3000}, 413),
    ],
)
def test_bodies_that_name_no_article(client, body, status):
    assert client.put(f"{API}/article", json=body, headers=KEY).status_code == status
    assert client.live.changes.asked == []


def test_what_the_run_refuses_is_said(client):
    client.live.changes = Asked("The record has a roll 'A17' already.")
    answer = client.put(f"{API}/article", json={"article": "satin", "roll": "A17"}, headers=KEY)
    assert answer.status_code == 409
    assert "already" in answer.json()["problem"]


def test_beyond_the_device_reading_needs_the_token(tmp_path):
    with (
        recorded_page(tmp_path) as (live, _, _),
        client_of(live, NETWORK, "10.0.0.7:8080") as client,
    ):
        for operation in OPERATIONS:
            path = operation.path.format(roll_id="current", event_id="0" * 32)
            assert client.request(operation.method, path).status_code == 401
        assert client.get(f"{API}/rolls", headers=KEY).status_code == 200
        assert client.get(f"{API}/rolls", headers=KEY | {"Host": "evil.example"}).status_code == 400


def test_without_a_record_there_are_no_rolls():
    live = plain_page()
    with client_of(live) as client:
        assert client.get(f"{API}/rolls").status_code == 409
        assert client.get(f"{API}/rolls/current").status_code == 409
        assert client.get(f"{API}/articles").json()["articles"] == []

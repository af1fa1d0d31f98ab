"""The pages of several cameras: one before them, one below each name, one guard for all."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from edge.page.app import SHIPPED
from edge.page.device import INDEX, device_app, pages_of
from edge.pipeline.run_state import RunState
from edge.web.address import Address
from edge.web.door import POLICY
from tests.unit.edge.page.pages import passed, plain_page, recorded_page

KEY = {"Authorization": "Bearer a-token-that-is-long"}


def client_of(lives, host="127.0.0.1", **more):
    app = device_app(pages_of(lives), Address(host, 8080), "a-token-that-is-long", ())
    return TestClient(app, base_url="http://127.0.0.1:8080", **more)


@pytest.fixture
def two(tmp_path):
    with recorded_page(tmp_path) as (left, _, _):
        right = plain_page(passed(RunState(), 1, 2))
        with client_of({"left": left, "right": right}) as client:
            client.lives = {"left": left, "right": right}
            yield client


def test_each_camera_has_its_page_below_its_name(two):
    assert two.get("/left/state").json()["along_m"] == 1.2
    assert two.get("/right/state").json()["along_m"] == 0.2
    assert two.get("/left/cloth.jpg").headers["content-type"] == "image/jpeg"
    (first, *_) = two.get("/left/roll").json()["defects"]
    assert two.get(f"/left/images/{first['id']}").status_code == 200
    assert two.get(f"/right/images/{first['id']}").status_code == 404
    verdict = {"id": first["id"], "verdict": "confirmed"}
    assert two.post("/left/reviews", json=verdict).status_code == 401
    assert two.post("/left/reviews", json=verdict, headers=KEY).status_code == 200
    assert two.post("/right/reviews", json=verdict, headers=KEY).status_code == 409
    for path in ("/state", "/middle/state", "/left/../right/x", "/left/left/state"):
        assert two.get(path).status_code == 404


def test_the_page_before_them_says_how_each_is(two):
    found = two.get("/cameras.json").json()
    assert (found["left"]["defects"], found["right"]["defects"]) == (3, 0)
    two.lives["right"].fail("There is no camera.")
    (trouble,) = two.get("/cameras.json").json()["right"]["troubles"][:1]
    assert (trouble["code"], trouble["cure"]) == ("stopped", "There is no camera.")


def test_health_and_metrics_of_all_cameras_are_there_too(two):
    assert list(two.get("/healthz").json()["cameras"]) == ["left", "right"]
    assert 'loomsight_frames_total{camera="right"} 2.0' in two.get("/metrics").text
    assert two.get("/left/metrics").status_code == 404


def test_one_guard_for_all():
    with client_of({"left": plain_page(), "right": plain_page()}, host="0.0.0.0") as client:
        for path in (*INDEX, *(f"/{name}{path}" for name in ("left", "right") for path in SHIPPED)):
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"] == POLICY
            assert "style=" not in answer.text
        for path in ("/cameras.json", "/healthz", "/metrics", "/left/state", "/right/events", "/left/roll"):
            assert client.get(path).status_code == 401
        assert client.get("/cameras.json", headers=KEY).status_code == 200
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_pages_never_work_on_two_things_at_once():
    pages = pages_of({name: plain_page() for name in ("left", "right")})
    assert pages["left"].one is pages["right"].one

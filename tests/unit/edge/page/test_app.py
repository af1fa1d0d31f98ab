"""What the page answers, and what it refuses: through Starlette's client, on a real roll record."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from edge.cameras.again import frames_again
from edge.core.errors import ConfigError
from edge.health.metrics import metrics_text
from edge.page.app import MOST_VIEWERS, SHIPPED
from edge.page.device import device_app
from edge.page.rolls import MOST_AT_ONCE
from edge.page.state import StateText, state_json
from edge.pipeline.changes import RollChanges
from edge.pipeline.run_state import RunState
from edge.roll.compose import document_of
from edge.roll.export import as_csv, as_json_lines
from edge.roll.reading import read_roll
from edge.roll.values import RollHead, RollTerms
from edge.web.address import Address
from edge.web.door import LARGEST_BODY, POLICY
from tests.unit.edge.page.pages import (
    LOCAL,
    TOKEN,
    app_of,
    defect,
    page_of,
    passed,
    plain_page,
    recorded_page,
    show,
)
from tests.unit.edge.roll.rolls import write_image

KEY = {"Authorization": f"Bearer {TOKEN}"}
NETWORK = Address("0.0.0.0", 8080)


def client_of(live, address=LOCAL, host="127.0.0.1:8080", names=()):
    return TestClient(app_of(live, address, names), base_url=f"http://{host}", raise_server_exceptions=True)


@contextmanager
def page(tmp_path, **where):
    with recorded_page(tmp_path) as (live, recorder, state), client_of(live, **where) as client:
        client.live, client.recorder, client.run = live, recorder, state
        yield client


def ids(client):
    return [one["id"] for one in client.get("/roll", headers=KEY).json()["defects"]]


def reviews(tmp_path):
    with closing(sqlite3.connect(tmp_path / "rolls.db")) as db:
        return db.execute("SELECT event_id, verdict FROM reviews ORDER BY rowid").fetchall()


def review(client, event_id, verdict, **changes):
    return client.post("/reviews", json={"id": event_id, "verdict": verdict}, headers=KEY, **changes)


def test_the_page_and_what_it_loads_are_there_and_guarded(tmp_path):
    with page(tmp_path) as client:
        for path, (_, media_type) in SHIPPED.items():
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(media_type)
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in answer.headers
            assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
        assert "unsafe" not in POLICY
        assert "<style" not in client.get("/").text
        assert client.get("/").text.count("<script") == client.get("/").text.count(
            '<script type="module" src='
        )


def test_state_cloth_and_image(tmp_path):
    with page(tmp_path) as client:
        assert client.get("/state").json()["along_m"] == 1.2
        cloth = client.get("/cloth.jpg")
        assert (cloth.headers["content-type"], cloth.headers["x-number"]) == ("image/jpeg", "1")
        image = client.get(f"/images/{ids(client)[0]}")
        decoded = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape[0] <= 64


def test_before_the_first_frame_there_is_no_cloth():
    with client_of(plain_page()) as client:
        assert client.get("/cloth.jpg").status_code == 204
        assert client.get("/state").json()["phase"] == "starting"
        assert client.get("/roll").json()["defects"] == []


def test_the_roll_comes_in_parts_and_only_what_is_new(tmp_path):
    with page(tmp_path) as client:
        first = client.get("/roll").json()
        assert (first["name"], first["article"], first["width_mm"]) == ("A17", "twill", 1500.0)
        assert first["gaps"] == [[0.5, 0.7, "lost lines"]]
        assert [one["start_m"] for one in first["defects"]] == [0.1, 0.2, 0.3]
        assert first["events"][0]["kind"] == "camera silent"
        again = client.get("/roll", params=first["known"]).json()
        assert (again["defects"], again["gaps"], again["verdicts"]) == ([], None, [])
        state = passed(client.run, 14)
        client.recorder.add([defect(1.3)], state.coverage, 1500.0)
        review(client, first["defects"][1]["id"], "rejected")
        then = client.get("/roll", params=first["known"]).json()
        assert [one["start_m"] for one in then["defects"]] == [1.3]
        assert then["gaps"] == [[0.5, 0.7, "lost lines"], [1.2, 1.4, "lost lines"]]
        assert then["verdicts"] == [[first["defects"][1]["id"], "rejected", None, None]]
        other = client.get("/roll", params={**first["known"], "roll": "of yesterday"}).json()
        assert len(other["defects"]) == 4


def test_the_count_is_of_what_is_recorded_of_the_roll(tmp_path):
    with page(tmp_path) as client, closing(sqlite3.connect(tmp_path / "rolls.db")) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        client.recorder._file.wait_for_others(1)
        state = client.run
        client.recorder.add([defect(1.1)], state.coverage, None)  # waits in memory
        client.live.end(state)
        assert client.get("/state").json()["defects"] == len(ids(client)) == 3
        other.execute("ROLLBACK")
        client.recorder.finish(state.coverage, None, "finished")
        client.live.end(state)
        assert (client.live.snapshot.defect_count, len(ids(client))) == (4, 4)


def test_a_record_that_was_replaced_is_listed_from_its_start(tmp_path):
    with page(tmp_path) as client:
        first = client.get("/roll").json()
        with closing(sqlite3.connect(tmp_path / "rolls.db")) as db, db:  # as in a record of many rolls
            db.execute("UPDATE defects SET rowid = rowid + 1000")
        first = client.get("/roll").json()
        (tmp_path / "rolls.db").rename(tmp_path / "away.db")
        client.recorder.add([defect(1.1)], client.run.coverage, None)
        then = client.get("/roll", params=first["known"]).json()
        assert then["known"]["record"] == 1
        assert [one["start_m"] for one in then["defects"]] == [0.1, 0.2, 0.3, 1.1]
        assert client.get("/roll", params=then["known"]).json()["defects"] == []
        client.live.end(client.run)
        assert client.live.snapshot.defect_count == 4


def test_many_defects_come_in_several_answers(tmp_path):
    with recorded_page(tmp_path, defects=MOST_AT_ONCE + 5) as (live, _, _), client_of(live) as client:
        first = client.get("/roll").json()
        assert (len(first["defects"]), first["more"]) == (MOST_AT_ONCE, True)
        second = client.get("/roll", params=first["known"]).json()
        assert (len(second["defects"]), second["more"]) == (5, False)


def test_a_run_without_a_record_has_a_map_and_no_verdicts():
    state = passed(plain_state(), 0, 3)
    state.roll.defects += [defect(0.05)]
    with client_of(plain_page(state)) as client:
        first = client.get("/roll").json()
        assert first["gaps"] == [[0.1, 0.3, "lost lines"]]
        assert [one["label"] for one in first["defects"]] == ["broken"]
        again = client.get("/roll", params=first["known"]).json()
        assert (again["defects"], again["gaps"]) == ([], None)
        assert client.get(f"/images/{'0' * 32}").status_code == 404
        assert review(client, "0" * 32, "confirmed").status_code == 409


def plain_state():
    from edge.pipeline.run_state import RunState

    return RunState()


def test_a_verdict_is_on_the_disk_when_it_is_answered_once_and_can_be_undone(tmp_path):
    with page(tmp_path) as client:
        one, two, _ = ids(client)
        for _ in range(3):
            answer = review(client, one, "confirmed").json()
            assert answer == {"id": one, "verdict": "confirmed", "class_name": None, "who": None}
        assert reviews(tmp_path) == [(one, "confirmed")]
        review(client, two, "rejected")
        review(client, two, "undone")
        review(client, two, "undone")
        assert reviews(tmp_path) == [(one, "confirmed"), (two, "rejected"), (two, "undone")]
        client.recorder.finish(client.run.coverage, None, "finished")
    roll = read_roll(tmp_path / "rolls.db", "A17")
    assert [row.verdict for row in roll.defects] == ["confirmed", None, None]
    first = as_csv(document_of(roll)).splitlines()[1]
    assert first.endswith('00000003.png,"[10.0, 10.0, 30.0, 30.0]",')  # of no user
    rows = [json.loads(line) for line in as_json_lines(document_of(roll)).splitlines()]
    assert [row.get("verdict") for row in rows if row["type"] == "defect"] == ["confirmed", None, None]


def named(client, event_id, class_name, verdict="confirmed"):
    asked = {"id": event_id, "verdict": verdict, "class_name": class_name}
    return client.post("/reviews", json=asked, headers=KEY)


def test_a_person_names_what_no_detector_has_a_name_for_and_takes_it_back(tmp_path):
    with page(tmp_path) as client:
        line = replace(defect(1.1, "unclassified"), shape="weft line")
        client.recorder.add([line], client.run.coverage, 1500.0)
        first = client.get("/roll").json()
        one = first["defects"][-1]
        assert (one["label"], one["shape"]) == ("unclassified", "weft line")
        assert named(client, one["id"], "broken").json()["class_name"] == "broken"
        assert named(client, one["id"], "broken").status_code == 200
        assert reviews(tmp_path) == [(one["id"], "confirmed")]
        then = client.get("/roll", params=first["known"]).json()
        assert then["verdicts"] == [[one["id"], "confirmed", "broken", None]]
        (row,) = [
            row for row in read_roll(tmp_path / "rolls.db", None).defects if row.event_id == one["id"]
        ]
        assert (row.called, row.judged) == ("unclassified (weft line)", "confirmed, broken")
        assert review(client, one["id"], "undone").status_code == 200
        (row,) = [
            row for row in read_roll(tmp_path / "rolls.db", None).defects if row.event_id == one["id"]
        ]
        assert (row.verdict, row.named) == (None, None)


def test_a_defect_comes_to_the_page_with_its_kind(tmp_path):
    with page(tmp_path) as client:
        client.recorder.add([replace(defect(1.1), kind="broken end")], client.run.coverage, 1500.0)
        assert client.get("/roll").json()["defects"][-1]["kind"] == "broken end"


@pytest.mark.parametrize(
    ("class_name", "verdict"),
    [("hole", "confirmed"), ("unclassified", "confirmed"), ("broken", "rejected"), ("", "confirmed")],
)
def test_a_class_that_is_none_of_the_model_is_refused(tmp_path, class_name, verdict):
    with page(tmp_path) as client:
        assert named(client, ids(client)[0], class_name, verdict).status_code == 422
        assert reviews(tmp_path) == []


def test_a_record_of_before_has_no_verdicts_and_gets_a_place_for_them(tmp_path):
    with recorded_page(tmp_path) as (_, recorder, state):
        recorder.finish(state.coverage, None, "finished")
    with closing(sqlite3.connect(tmp_path / "rolls.db")) as db:
        for table in ("namings", "shapes", "kinds", "reviews"):
            db.execute(f"DROP TABLE {table}")
        db.commit()
    assert [row.verdict for row in read_roll(tmp_path / "rolls.db", None).defects] == [None] * 3
    with page(tmp_path) as client:
        assert len(ids(client)) == 6
        assert review(client, ids(client)[0], "confirmed").status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}]
)
def test_nothing_changes_without_the_token(tmp_path, headers):
    with page(tmp_path) as client:
        answer = client.post(
            "/reviews", json={"id": ids(client)[0], "verdict": "confirmed"}, headers=headers
        )
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert reviews(tmp_path) == []


@pytest.mark.parametrize(
    "path", ["/state", "/events", "/cloth.jpg", "/roll", "/images/x", "/frames", "/frames/0"]
)
def test_beyond_this_machine_reading_needs_the_token(tmp_path, path):
    with page(tmp_path, address=NETWORK, host="10.0.0.7:8080") as client:
        assert client.get(path).status_code == 401
        assert client.get("/").status_code == 200
        assert client.get("/state", headers=KEY).status_code == 200


def test_health_and_metrics_are_at_the_page_under_its_rules(tmp_path):
    with page(tmp_path) as client:
        health, state = client.get("/healthz"), client.get("/state").json()
        assert (health.status_code, health.json()["ok"]) == (200, True)
        assert health.json()["frames"] == state["frames"] == 10
        assert "loomsight_frames_total 10.0" in client.get("/metrics").text
        client.live.health.failure = "The camera is gone."
        assert client.get("/healthz").status_code == 503
    with client_of(plain_page(), NETWORK, "10.0.0.7:8080") as client:
        for path in ("/healthz", "/metrics"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=KEY).status_code == 200


def test_page_health_and_metrics_read_one_snapshot():
    live = plain_page(state := passed(RunState(), 0))
    show(live, passed(state, 1))  # within moments of the one before
    assert live.health.snapshot is live.snapshot.run
    assert live.health.as_json()["frames"] == state_json(live, 0.0)["frames"] == 1
    assert b"loomsight_frames_total 1.0" in metrics_text({None: live.health})


def test_a_name_that_a_proxy_gives_needs_the_token_too(tmp_path):
    with page(tmp_path, host="loom7.mill", names=("Loom7.mill",)) as client:
        assert client.get("/state").status_code == 401
        assert client.get("/state", headers=KEY).status_code == 200


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (LOCAL, "evil.example"),
        (LOCAL, "localhost.evil.example:8080"),
        (LOCAL, "10.0.0.7:8080"),
        (NETWORK, "evil.example:8080"),
        (NETWORK, "10.0.0.7.evil.example"),
    ],
)
def test_other_names_are_refused_whoever_asks(tmp_path, address, host):
    with page(tmp_path, address=address) as client:
        answer = client.get("/", headers={**KEY, "Host": host})
        assert (answer.status_code, answer.json()["problem"]) == (400, "This device has another name.")


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_names_of_this_machine(tmp_path, host):
    with page(tmp_path) as client:
        assert client.get("/state", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/images/..%2F..%2Fetc%2Fpasswd",
        "/images/../rolls.db",
        "/images/%2e%2e/rolls.db",
        "/images/" + "0" * 32,
        "/images/" + "0" * 31 + "'",
        "/..%2fapp.py",
        "/app.py",
        "/page.js/../app.py",
    ],
)
def test_no_other_file_is_served(tmp_path, path):
    with page(tmp_path) as client:
        assert client.get(path).status_code == 404


def test_an_image_that_is_gone_or_none_is_not_served(tmp_path):
    with page(tmp_path) as client:
        (tmp_path / "00000003.png").write_text("root:x:0:0")
        assert client.get(f"/images/{ids(client)[0]}").status_code == 404
        (tmp_path / "00000003.png").unlink()
        assert client.get(f"/images/{ids(client)[0]}").status_code == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b" " * (LARGEST_BODY + 1), "application/json", 413),
        (b"{", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"id": "../../etc/passwd", "verdict": "confirmed"}', "application/json", 422),
        (b'{"id": "' + b"0" * 32 + b'", "verdict": "stop the loom"}', "application/json", 422),
        (b'{"id": "' + b"0" * 32 + b'", "verdict": "confirmed", "path": "x"}', "application/json", 422),
        (b'{"id": "' + b"0" * 32 + b'", "verdict": "confirmed"}', "application/json", 404),
    ],
)
def test_a_body_that_is_no_verdict(tmp_path, body, content_type, status):
    with page(tmp_path) as client:
        answer = client.post("/reviews", content=body, headers={**KEY, "Content-Type": content_type})
        assert answer.status_code == status
        assert "Traceback" not in answer.text
    assert reviews(tmp_path) == []


def test_an_oversized_body_that_does_not_say_its_size(tmp_path):
    with page(tmp_path) as client:
        parts = (b" " * 600 for _ in range(1000))
        answer = client.post("/reviews", content=parts, headers={**KEY, "Content-Type": "application/json"})
        assert answer.status_code == 413


@pytest.mark.parametrize(
    "known", [{"defect": "x"}, {"review": "-1"}, {"defect": "9" * 30}, {"defect": "²"}]
)
def test_a_question_with_nonsense(tmp_path, known):
    with page(tmp_path) as client:
        assert client.get("/roll", params=known).status_code == 422


def test_a_question_cannot_reach_into_the_database(tmp_path):
    with page(tmp_path) as client:
        known = {"roll": "' OR 1=1 --", "gaps": "'; DROP TABLE reviews; --"}
        assert client.get("/roll", params=known).status_code == 200
        assert len(ids(client)) == 3


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(tmp_path, method):
    with page(tmp_path) as client:
        assert client.request(method, "/state").status_code == 401
        assert client.request(method, "/state", headers=KEY).status_code == 405


def test_a_record_that_another_program_holds_is_said_and_nothing_is_acknowledged(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.roll.reviews.BUSY_MS", 20)
    with page(tmp_path) as client:
        first = ids(client)[0]
        with closing(sqlite3.connect(tmp_path / "rolls.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = review(client, first, "confirmed")
        assert (answer.status_code, "in use by another program" in answer.json()["problem"]) == (503, True)
        assert review(client, first, "confirmed").status_code == 200


def test_so_many_viewers_and_no_more(tmp_path):
    with recorded_page(tmp_path) as (live, _, _):
        app = page_of(live)
        app.viewers.count = MOST_VIEWERS
        with TestClient(device_app({None: app}, LOCAL, TOKEN, ()), base_url="http://localhost") as client:
            assert client.get("/events").status_code == 503
            app.viewers.count, app.closing = 0, True
            assert json.loads(client.get("/events").text.removeprefix("data: "))["along_m"] == 1.2
        assert app.viewers.count == 0


class Asked:
    """Take requests for rolls as the run does."""

    def __init__(self, error=None):
        self.requests, self._error = [], error

    def ask(self, request):
        if self._error:
            raise self._error
        is_new = request.request_id not in [one.request_id for one in self.requests]
        self.requests += [request] if is_new else []
        return is_new


def next_roll(client, headers=KEY, **body):
    return client.post("/rolls", json={"id": "1" * 32, **body}, headers=headers)


def test_the_next_roll_is_asked_for_once(tmp_path):
    with page(tmp_path) as client:
        client.live.changes = Asked()
        assert next_roll(client, headers={}).status_code == 401
        answers = [next_roll(client, name="B 7", article="twill") for _ in range(2)]
        assert [(one.status_code, one.json()["repeated"]) for one in answers] == [(202, False), (202, True)]
        (request,) = client.live.changes.requests
        assert (request.by, request.name, request.article) == ("operator", "B 7", "twill")
        for wrong in ({"name": ""}, {"name": "a\nb"}, {"name": "x" * 201}, {"id": "../x"}, {"more": 1}):
            assert next_roll(client, **wrong).status_code == 422
        assert next_roll(client, name="ß" * 200, article="編" * 200).status_code == 202
        assert next_roll(client, name="x" * 3000).status_code == 413
        client.live.changes = Asked(ConfigError("The record has a roll 'A' already.", "Name another one."))
        assert next_roll(client).json()["problem"] == "The record has a roll 'A' already. Name another one."
        client.live.changes = None
        assert next_roll(client).status_code == 409


def test_teaching_is_asked_for_with_the_token_and_refused_in_plain_words(tmp_path):
    def teach(headers=KEY, **body):
        return client.post("/teaching", json=body, headers=headers)

    with page(tmp_path) as client:
        assert (
            teach(**{"request": "begin"})
            .json()["problem"]
            .startswith("Nothing is learnt here: start edge-run with")
        )
        teacher = client.live.teaching = Asked()
        teacher.ask = teacher.requests.append
        assert teach(headers={}, **{"request": "begin"}).status_code == 401
        assert [teach(**{"request": request}).status_code for request in ("begin", "cancel")] == [202, 202]
        assert teacher.requests == ["begin", "cancel"]
        for wrong in ({}, {"request": "stop"}, {"request": "begin", "more": 1}, {"request": ["begin"]}):
            assert teach(**wrong).status_code == 422
        assert client.get("/state").json()["article"]["can_teach"]


def test_cloth_of_another_article_that_was_taught_is_offered(tmp_path):
    with page(tmp_path) as client:
        client.run.recognised = "twill 220"
        client.live.snapshot = client.live._taken(client.run, client.run.snapshot(), "running")
        (offer,) = [one for one in client.get("/state").json()["troubles"] if one["article"]]
        assert (offer["code"], offer["article"]) == ("known article", "twill 220")
        assert offer["text"] == "This cloth looks like twill 220, which was taught."


def test_the_page_starts_again_with_the_new_roll(tmp_path):
    with page(tmp_path) as client:
        first = client.get("/roll").json()
        state = client.run
        client.recorder.change_roll(
            state.coverage, 1500.0, RollHead("loom", "a" * 64, {}, "B", "satin"), "operator"
        )
        state.end_roll(state.roll.following(RollTerms("B", "satin")))
        passed(state, 12)
        client.recorder.add([defect(1.25)], state.coverage, None)
        client.live.snapshot = client.live._taken(state, state.snapshot(), "running")
        second = client.get("/roll", params=first["known"]).json()
        assert (second["name"], second["article"]) == ("B", "satin")
        assert second["roll"] != first["roll"]
        assert [one["start_m"] for one in second["defects"]] == [pytest.approx(0.05)]
        assert [event["kind"] for event in second["events"]] == ["roll begun"]
        told = StateText(client.live).now()
        assert json.loads(told)["along_m"] == pytest.approx(0.1)
        assert json.loads(told)["inspected_m"] == pytest.approx(0.1)


def test_a_roll_that_could_not_be_recorded_yet_is_shown_all_the_same(tmp_path):
    with page(tmp_path) as client, closing(sqlite3.connect(tmp_path / "rolls.db")) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        client.recorder._file.wait_for_others(1)
        state = client.run
        client.recorder.change_roll(state.coverage, None, RollHead("loom", "a" * 64, {}, "B"), "operator")
        state.end_roll(state.roll.following(RollTerms("B")))
        client.live.snapshot = client.live._taken(state, state.snapshot(), "running")
        roll = client.get("/roll").json()
        assert (roll["name"], roll["defects"], roll["length_m"]) == ("B", [], 0.0)


def test_without_a_record_the_map_starts_again_too():
    state = passed(plain_state(), 0, 3)
    state.take([defect(0.05)])
    live = plain_page(state)
    with client_of(live) as client:
        first = client.get("/roll").json()
        state.end_roll(state.roll.following(RollTerms("B")))
        passed(state, 4)
        state.take([defect(0.45)])
        live.snapshot = live._taken(state, state.snapshot(), "running")
        second = client.get("/roll", params=first["known"]).json()
        assert (second["name"], second["gaps"]) == ("B", [])
        assert [one["start_m"] for one in second["defects"]] == [pytest.approx(0.05)]


def test_a_finished_run_starts_no_roll_and_gives_its_frames(tmp_path):
    for number in range(2):
        write_image(tmp_path / f"{number}.png")
    live = plain_page(passed(RunState(), 0, 1), stays=True)
    live.frames.again = frames_again(str(tmp_path))
    live.changes = RollChanges(lambda *_: None)
    with client_of(live) as client:
        assert client.get("/frames").status_code == client.get("/frames/0").status_code == 409
        state = passed(RunState(), 2)
        live.health.end(state)
        live.end(state)
        assert client.get("/frames").json() == {"count": 2, "found": [], "forgotten": 0, "problem": None}
        assert client.get("/frames/1").headers["x-name"] == "1.png"
        assert [client.get(f"/frames/{number}").status_code for number in (2, "x")] == [404, 422]
        answer = client.post("/rolls", json={"id": "0" * 32}, headers=KEY)
        assert (answer.status_code, answer.json()["problem"]) == (409, "Inspection is finished.")

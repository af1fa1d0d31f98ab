"""The contact sheet of the article on the loom, and what the page says of the article."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from edge.page.state import article_json
from edge.teach.article_file import ArticleManifest, ClothUsed, Promise, SheetPlace, open_article
from edge.teach.article_file import publish_article as publish
from edge.teach.contact_sheet import CELL_PX, sheet_png
from edge.teach.marks import marked_places, marks_path
from edge.teach.values import TeachingNow
from edge.web.address import Address
from tests.unit.edge.page.pages import LOCAL, TOKEN, app_of, changed, passed, plain_page, plain_state

KEY = {"Authorization": f"Bearer {TOKEN}"}


def place(number):
    return SheetPlace(
        number=number, source="a.png", frame_id=1, box_xyxy_px=(0, 0, 9, 9), rate=number * 10 / 3
    )


def taught_article(folder, places=3, grey=90, **options):
    """Publish an article file whose contact sheet has some places; returns it, opened."""
    crop = np.full((CELL_PX, CELL_PX, 3), grey, np.uint8)
    manifest = ArticleManifest(
        article="twill 220", mm_per_px=0.2, width_px=320, detector_digest="a" * 64, trunk_digest="b" * 64,
        levels={"spot": 5.0}, fit_distance=1.0, near=0.5, score_thresholds={"broken": 0.5},
        promise=Promise(false_alarms=3, per="100 m", calibrated_on="30 m", least=0.84),
        cloth=ClothUsed(images=100, metres=30),
        places=tuple(place(number) for number in range(1, places + 1)),
    )  # fmt: skip
    arrays = {"mean": np.zeros(3, np.float32)}
    publish(folder / "twill", manifest, arrays, sheet_png([crop] * places, ["x"] * places), **options)
    return open_article(folder / "twill")


def client_of(article, address=None):
    live = plain_page(passed(plain_state(), 0))
    live.taught = lambda: article
    app = app_of(live, address or LOCAL)
    return TestClient(app, base_url="http://127.0.0.1:8080")


@pytest.fixture
def article(tmp_path):
    return taught_article(tmp_path)


def mark(client, article, number, is_defect=True, headers=KEY, changes=()):
    asked = {"sheet": article.manifest.files["contact-sheet.png"], "number": number, "is_defect": is_defect}
    return client.post("/marks", json={**asked, **dict(changes)}, headers=headers)


def test_the_sheet_has_its_image_its_numbers_and_the_rate_of_each(article):
    client = client_of(article)
    sheet = client.get("/sheet.json").json()
    assert (sheet["article"], sheet["marked"], sheet["command"]) == ("twill 220", [], None)
    assert sheet["promise"] == "at most 3 false alarms per 100 m, from 30 m of clean cloth"
    assert sheet["places"] == [
        {"number": 1, "alarm_at": "3.33 per 100 m"},
        {"number": 2, "alarm_at": "6.67 per 100 m"},
        {"number": 3, "alarm_at": "10 per 100 m"},
    ]
    answer = client.get("/sheet.png")
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert answer.headers["content-type"] == "image/png"
    assert image.shape == (sheet["cell_px"] + sheet["text_px"], sheet["columns"] * sheet["cell_px"], 3)


def test_a_mark_is_on_the_disk_when_it_is_answered_and_is_taken_back(article, tmp_path):
    client = client_of(article)
    assert mark(client, article, 3).json()["marked"] == [3]
    answer = mark(client, article, 1).json()
    assert answer["marked"] == [1, 3]
    assert answer["command"] == (
        "loomsight teach --article 'twill 220' --camera SAME --false-alarms-per-100m 3 "
        f"--out {tmp_path / 'twill'} --leave-out 1 3"
    )
    written = json.loads((tmp_path / "twill.leave-out.json").read_text())
    assert (written["article"], written["leave_out"]) == ("twill 220", [1, 3])
    assert client.get("/sheet.json").json()["marked"] == [1, 3]  # another page sees them, too
    assert mark(client, article, 1, False).json()["marked"] == [3]
    assert mark(client, article, 3, False).json() == {"marked": [], "command": None}
    open_article(article.path)  # the article file itself is as it was published
    assert {path.name for path in tmp_path.iterdir()} == {"twill", "twill.leave-out.json"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"number": 4}, 404), ({"number": 0}, 422), ({"number": "3; rm"}, 422), ({"sheet": "0" * 64}, 409),
        ({"sheet": "../x"}, 422), ({"path": "/etc/passwd"}, 422), ({"is_defect": None}, 422),
    ],
)  # fmt: skip
def test_what_is_no_mark_on_this_sheet_is_refused_and_nothing_written(article, changes, status):
    assert mark(client_of(article), article, 1, changes=changes).status_code == status
    assert not marks_path(article).exists()


def test_nothing_is_marked_without_the_token_and_beyond_this_device_nothing_is_read(article):
    assert mark(client_of(article), article, 1, headers={}).status_code == 401
    assert not marks_path(article).exists()
    network = client_of(article, Address("0.0.0.0", 8080))
    for path in ("/sheet.json", "/sheet.png"):
        assert network.get(path).status_code == 401
        assert network.get(path, headers=KEY).status_code == 200
    assert network.get("/sheet").status_code == 200  # the empty page


def test_an_article_that_nobody_taught_has_no_sheet(article):
    client = client_of(None)
    for answer in (client.get("/sheet.json"), client.get("/sheet.png"), mark(client, article, 1)):
        assert (answer.status_code, "was not taught" in answer.json()["problem"]) == (404, True)


def test_an_article_file_that_was_taught_again_meanwhile_is_said_and_its_marks_start_again(tmp_path):
    before = taught_article(tmp_path)
    client = client_of(before)
    mark(client, before, 2)
    after = taught_article(tmp_path, grey=120, overwrite=True)
    answer = client.get("/sheet.png")
    assert (answer.status_code, "taught again meanwhile" in answer.json()["problem"]) == (503, True)
    assert marked_places(after) == ()
    assert client_of(after).get("/sheet.png").status_code == 200
    assert mark(client_of(after), after, 1).json()["marked"] == [1]


@pytest.mark.parametrize("text", ["{", "[]", '{"article": "a", "sheet": "b", "leave_out": [-1]}', ""])
def test_marks_that_are_damaged_are_one_line_with_the_cure(article, text):
    marks_path(article).write_text(text)
    answer = client_of(article).get("/sheet.json")
    assert answer.status_code == 503
    assert answer.json()["problem"].endswith("Delete it and mark the places again.")


def test_marks_that_cannot_be_written_are_one_line(tmp_path):
    article = taught_article(tmp_path)
    marks_path(article).mkdir()
    answer = mark(client_of(article), article, 1)
    assert (answer.status_code, "leave-out.json" in answer.json()["problem"]) == (503, True)


def shown(article, name=None):
    live = plain_page(passed(plain_state(), 0))
    terms = replace(live.snapshot.run.terms, article=name)
    live.snapshot = changed(live.snapshot, terms=terms)
    live.taught = lambda: article
    return TestClient(app_of(live), base_url="http://localhost")


@pytest.mark.parametrize("name", [None, "twill 220"])
def test_a_taught_article_is_said_with_its_promise(article, name):
    assert shown(article, name).get("/state").json()["article"] == {
        "level": "good",
        "name": "twill 220",
        "text": "twill 220: taught.",
        "more": "At most 3 false alarms per 100 m, from 30 m of clean cloth.",
        "is_taught": True,
        "teaching": None,
        "can_teach": False,
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [("denim", "denim: not taught yet."), (None, "No article was taught.")],
)
def test_an_article_that_nobody_taught_is_said(name, text):
    said = shown(None, name).get("/state").json()["article"]
    assert (said["level"], said["text"], said["is_taught"]) == ("note", text, False)


def test_an_article_that_is_being_learnt_is_said_with_what_it_would_promise():
    now = TeachingNow("denim", "reading", 12.3, 30.0, 2.1, is_new=True)
    said = article_json("denim", None, now)
    assert (said["level"], said["text"]) == ("note", "denim is being learnt.")
    assert said["more"] == (
        "12.3 of 30 m read, enough to promise at most 2.1 false alarms per 100 m. "
        "Until it is learnt, nothing stops the machine."
    )
    assert said["teaching"]["metres"] == 12.3


def test_what_was_taught_of_another_article_is_a_warning(article):
    said = shown(article, "denim").get("/state").json()["article"]
    assert (said["level"], said["text"]) == (
        "warn",
        "denim: the device uses what it was taught of twill 220.",
    )


def test_before_the_first_frame_nothing_is_said_of_the_article():
    live = plain_page()
    client = TestClient(app_of(live), base_url="http://localhost")
    assert client.get("/state").json()["article"] is None

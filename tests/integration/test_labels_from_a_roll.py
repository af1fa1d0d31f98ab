"""From cloth with a reference to labels: run, name on the page, convert, check, read as distill does."""

from __future__ import annotations

import signal
import time
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from distill.data.dataset import load_dataset
from edge.core.taxonomy import load_taxonomy
from edge.roll.reading import read_rolls
from edge.roll.reviews import Review, record_review
from tests.hostile.commands import outcome_of
from tests.integration.articles import FRAMES
from tests.integration.browsing import START_S, edge_run

LIVE = f"loom:seed=7,defects_per_m=8,difficulties=obvious,live=true,frames_hz=3,speed_m_min=12,{FRAMES}"


class Operator(AbstractContextManager):
    """Look at the page of a run and say what defects are, as its buttons do."""

    def __init__(self, address, token):
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{urlsplit(address).port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=START_S,
        )

    def __exit__(self, *error):
        self._client.close()

    def unclassified(self, least):
        """Wait for so many defects of this roll that no detector has a name for, with an image."""
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s:
            roll = self._client.get("/roll").json()
            found = [one for one in roll["defects"] if one["label"] == "unclassified" and one["image"]]
            if len(found) >= least:
                return [one["id"] for one in found]
            time.sleep(0.2)
        raise AssertionError(roll)

    def say(self, event_id, verdict, class_name=None):
        asked = {"id": event_id, "verdict": verdict, "class_name": class_name}
        answer = self._client.post("/reviews", json=asked)
        assert answer.status_code == 200, answer.text

    def next_roll(self, name):
        before = self._client.get("/roll").json()["roll"]
        asked = {"id": uuid.uuid4().hex, "name": name}
        assert self._client.post("/rolls", json=asked).status_code == 202
        end_s = time.monotonic() + START_S
        while self._client.get("/roll").json()["roll"] == before and time.monotonic() < end_s:
            time.sleep(0.2)


def labels(*words):
    return outcome_of(["labels", *map(str, words)], Path.cwd())


def test_what_an_operator_names_on_the_page_is_trained_on_and_what_they_strike_out_is_clean_cloth(
    article, detector, tmp_path
):
    token = tmp_path / "token"
    more = ["--camera", LIVE, "--model", detector, "--reference", article]
    named, struck = [], []
    with edge_run(tmp_path, "0", *more, token=token) as (process, address):
        with Operator(address, token.read_text().strip()) as operator:
            for number in range(2):
                first, second, *_ = operator.unclassified(3)
                operator.say(first, "confirmed", "broken")
                operator.say(second, "rejected")
                named, struck = [*named, first], [*struck, second]
                if number == 0:
                    operator.next_roll("A18")
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
    record = tmp_path / "rolls.db"
    rows = {row.event_id: row for roll in read_rolls(record) for row in roll.defects}
    assert {rows[one].defect.class_name for one in (*named, *struck)} == {"unclassified"}

    for one in rows.keys() - {*named, *struck}:  # the rest, which came after the operator had gone
        record_review(record, one, Review("rejected"))

    done = labels("check", record)
    assert done.code == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok: ")
    voc = labels("convert", record, "--to", "voc", "--out", tmp_path / "voc")
    assert voc.code == 0, voc.stderr
    checked = labels("check", tmp_path / "voc")
    assert checked.code == 0, checked.stdout
    done = labels("convert", record, "--split", "train=0.5,val=0.5", "--out", tmp_path / "set")
    assert done.code == 0, done.stderr
    assert labels("check", tmp_path / "set").code == 0

    dataset = load_dataset(tmp_path / "set", load_taxonomy())
    trained = {
        tuple(round(side) for side in fraction * (320, 320, 320, 320))
        for image in (*dataset.train, *dataset.val)
        for fraction in image.boxes_xyxy_norm
    }
    assert any(not len(image.class_ids) for image in (*dataset.train, *dataset.val))
    recorded = {one: tuple(round(side) for side in rows[one].box_xyxy_px) for one in rows}
    assert trained <= {recorded[one] for one in named}  # nothing that nobody named
    assert trained
    broken = load_taxonomy().classes.index("broken")
    classes = {int(name) for image in (*dataset.train, *dataset.val) for name in image.class_ids}
    assert classes == {broken}

"""A plant's program over HTTP: a real edge-run, a real client, a simulated loom."""

from __future__ import annotations

import signal
import subprocess
import time

import httpx
import jsonschema
import pytest

from edge.roll.document import json_schema
from edge.roll.reading import read_rolls
from tests.integration.test_opcua import LOOM, PATIENCE_S
from tests.ports import HeldPort
from tests.processes import program

TOKEN = "a-token-that-is-long"
KEY = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def run(tmp_path, bundle):
    """Yield a client of a run, and its record."""
    port = HeldPort()
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    file = tmp_path / "box.toml"
    file.write_text(
        f'camera = "{LOOM}"\nmodel = "{bundle}"\nroll_record = "{tmp_path / "r.db"}"\nroll = "A1"\n'
        f'page = "{port.number}"\npage_token_file = "{tmp_path / "token"}"\n'
        "cloth_width_mm = 50\nselvedge_margin_mm = 0\n[articles.twill]\n[articles.satin]\n"
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(program("edge-run", "--config", file), stderr=log, stdout=log)
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port.number}/api/v1", timeout=PATIENCE_S
            ) as client:
                yield client, tmp_path / "r.db"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()


def until(is_so):
    """Wait until something is so; a run that is not there yet answers nothing."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = is_so()
        except (httpx.ConnectError, httpx.ReadError):
            found = None
        if found:
            return found
        assert time.monotonic() < end_s
        time.sleep(0.3)


@pytest.mark.slow
def test_a_program_follows_rolls_and_chooses_the_article(run):
    client, record = run

    def current():
        answer = client.get("/rolls/current")
        return answer.json() if answer.status_code == 200 else None

    first = until(lambda: (found := current()) and found["defects"] and found)
    jsonschema.Draft202012Validator(json_schema()).validate(first)
    assert first["header"]["roll"] == "A1"
    wanted = {"article": "twill", "roll": "A2"}
    assert client.put("/article", json=wanted).status_code == 401
    assert client.put("/article", json=wanted, headers={"Authorization": "Bearer x"}).status_code == 401
    assert [one["roll"] for one in client.get("/rolls").json()["rolls"]] == ["A1"]
    assert client.put("/article", json=wanted, headers=KEY).status_code == 202

    def second():
        listed = client.get("/rolls").json()["rolls"]
        return listed if listed[0]["roll"] == "A2" else None

    now, before = until(second)
    assert (now["article"], before["status"], before["roll_id"]) == (
        "twill",
        "finished",
        first["technical"]["roll_id"],
    )
    until(lambda: client.get("/articles").json()["article"] == "twill")
    again = client.put("/article", json={"article": "twill"}, headers=KEY)
    assert (again.status_code, again.json()["is_changing"]) == (200, False)
    refused = client.put("/article", json={"article": "satin", "roll": "A1"}, headers=KEY)
    assert refused.status_code == 409
    grade = client.get(f"/rolls/{before['roll_id']}/grade").json()
    assert grade["grading"]["points"] == before["points"]
    defects = client.get(f"/rolls/{before['roll_id']}/defects").json()
    assert defects["total"] == before["defects"] > 0
    roll = read_rolls(record)[0]
    assert [one["event_id"] for one in defects["defects"]] == [row.event_id for row in roll.defects][:50]
    ended = next(event for event in roll.events if event.kind == "roll ended")
    assert ended.data["by"] == "rest"

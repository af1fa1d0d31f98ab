"""The live page with users: each request that changes something needs its role, and says who made it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from starlette.testclient import TestClient

from edge.accounts.guard import guard_of
from edge.accounts.permissions import ROLES
from edge.accounts.users import add_user, remove_user
from edge.audit.log import AuditLog
from edge.audit.reading import entries_of
from edge.audit.trail import AuditTrail
from edge.page.device import device_app
from edge.pipeline.audited import RunAudit
from edge.roll.audit_heads import heads_in
from edge.roll.reading import read_roll
from tests.unit.edge.page.pages import LOCAL, TOKEN, page_of, recorded_page

ASKS = {
    "/reviews": {"id": "0" * 32, "verdict": "confirmed"},
    "/rolls": {"id": "1" * 32},
    "/marks": {"sheet": "0" * 64, "number": 1, "is_defect": True},
    "/teaching": {"request": "begin"},
    "/api/v1/article": {"article": "twill"},
}
LEAST = {
    "/reviews": "operator",
    "/rolls": "shift-lead",
    "/marks": "shift-lead",
    "/teaching": "engineer",
    "/api/v1/article": "shift-lead",
}


@pytest.fixture
def device(tmp_path):
    """A page of a recorded roll with a user of each role and an audit log; gives clients by name."""
    file = tmp_path / "users.json"
    tokens = {
        name: add_user(file, name, role) for name, role in zip(("anna", "bert", "carl"), ROLES, strict=True)
    }
    with recorded_page(tmp_path) as (live, _, _), AuditTrail(AuditLog(tmp_path / "log")) as trail:
        live.audit = RunAudit(trail)
        app = device_app({None: page_of(live)}, LOCAL, guard_of(file, TOKEN), ())
        with TestClient(app, base_url="http://127.0.0.1:8080") as client:
            client.tokens, client.folder, client.file = {**tokens, "common": TOKEN}, tmp_path, file
            yield client


def post(client, who, path, body):
    method = "PUT" if path.startswith("/api/") else "POST"
    return client.request(
        method, path, json=body, headers={"Authorization": f"Bearer {client.tokens[who]}"}
    )


@pytest.mark.parametrize("path", ASKS)
def test_each_change_needs_its_role(device, path):
    for name, role in zip(("anna", "bert", "carl"), ROLES, strict=True):
        answer = post(device, name, path, ASKS[path])
        if ROLES.index(role) < ROLES.index(LEAST[path]):
            assert answer.status_code == 403
            assert answer.json()["problem"].endswith(f"needs the role {LEAST[path]}; {name} is {role}.")
        else:
            assert answer.status_code not in (401, 403)


def test_the_common_token_is_refused_where_there_are_users(device):
    assert post(device, "common", "/reviews", ASKS["/reviews"]).status_code == 401
    for name in ("anna", "bert", "carl"):
        remove_user(device.file, name)
    assert post(device, "anna", "/reviews", ASKS["/reviews"]).status_code == 401
    assert post(device, "common", "/teaching", ASKS["/teaching"]).status_code == 409  # it may, and cannot


def test_a_file_of_users_that_is_gone_is_said(device):
    device.file.unlink()
    answer = post(device, "carl", "/reviews", ASKS["/reviews"])
    assert answer.status_code == 503
    assert "There is no file of users" in answer.json()["problem"]
    assert device.get("/state").status_code == 200  # reading on this device is open as before


def test_a_verdict_says_who_gave_it(device):
    first, second, *_ = (one["id"] for one in device.get("/roll").json()["defects"])
    assert post(device, "anna", "/reviews", {"id": first, "verdict": "confirmed"}).json()["who"] == "anna"
    post(device, "anna", "/reviews", {"id": first, "verdict": "confirmed"})  # sent twice
    post(device, "bert", "/reviews", {"id": first, "verdict": "rejected"})
    post(device, "bert", "/reviews", {"id": second, "verdict": "rejected"})
    post(device, "bert", "/reviews", {"id": second, "verdict": "undone"})
    post(device, "anna", "/reviews", {"id": second, "verdict": "undone"})  # nothing stands any more
    assert device.get("/roll").json()["verdicts"] == [
        [first, "confirmed", None, "anna"],
        [first, "rejected", None, "bert"],
        [second, "rejected", None, "bert"],
        [second, "undone", None, "bert"],
    ]
    record = device.folder / "rolls.db"
    judged = {row.event_id: (row.verdict, row.verdict_by) for row in read_roll(record, None).defects}
    assert judged[first] == ("rejected", "bert")
    assert judged[second] == (None, None)
    noted = [
        (entry.who, entry.data["verdict"])
        for entry in entries_of(device.folder / "log")
        if entry.number > 1
    ]
    assert [f"{who}: {verdict}" for who, verdict in noted] == [
        "user anna: confirmed",
        "user bert: rejected",
        "user bert: rejected",
        "user bert: undone",
    ]
    assert heads_in(record, "log")[-1].number == 5


def test_a_record_of_an_older_program_has_verdicts_of_nobody(device):
    first = device.get("/roll").json()["defects"][0]["id"]
    post(device, "anna", "/reviews", {"id": first, "verdict": "confirmed"})
    with closing(sqlite3.connect(device.folder / "rolls.db")) as db:
        db.execute("DROP TABLE reviewers")
        db.commit()
    (row,) = [row for row in read_roll(device.folder / "rolls.db", None).defects if row.event_id == first]
    assert (row.verdict, row.verdict_by) == ("confirmed", None)
    assert device.get("/roll").json()["verdicts"] == [[first, "confirmed", None, None]]
    assert post(device, "bert", "/reviews", {"id": first, "verdict": "rejected"}).status_code == 200
    assert device.get("/roll").json()["verdicts"][-1] == [first, "rejected", None, "bert"]

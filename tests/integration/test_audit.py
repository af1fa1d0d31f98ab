"""The audit log of a real device: a real run with a page and users, real commands, kills, and a forger."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import ExitStack, closing

import httpx
import pytest

from edge.audit.files import log_beside
from edge.audit.reading import entries_of
from edge.audit.verify import verify_log
from edge.roll.audit_heads import heads_in
from tests.integration.browsing import START_S, edge_run, needs_chromium, tab_of
from tests.patience import wait_for
from tests.processes import loomsight
from tests.unit.edge.audit.logs import lines_in, rechained

LOOM = "loom:seed=7,width_px=512,length_m=0.4,defects_per_m=4,difficulties=obvious"


def entries(log, kind=None):
    return [entry for entry in entries_of(log) if kind in (None, entry.kind)]


def short_run(record, bundle, *more):
    words = ("--camera", LOOM, "--model", bundle, "--roll-record", record, "--threads", 1, *more)
    return loomsight("edge-run", *words, env={"OMP_NUM_THREADS": "1"})


@pytest.fixture
def device(tmp_path):
    """Settings of a device with a file of users, and the token of each."""
    config = tmp_path / "box.toml"
    lines = [f'page_users_file = "{tmp_path}/users.json"', f'roll_record = "{tmp_path}/rolls.db"']
    config.write_text("\n".join(lines) + "\n")
    tokens = {}
    for name, role in (("anna", "operator"), ("bert", "shift-lead"), ("carl", "engineer")):
        added = loomsight("user", "add", name, "--role", role, "--config", config)
        assert added.returncode == 0, added.stderr
        assert "shown this once" in added.stderr
        tokens[name] = added.stdout.strip()
    return config, tokens


def post(bare, token, path, body):
    return httpx.post(
        f"{bare}{path}", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=START_S
    )


def test_a_shift_with_three_people(device, tmp_path):
    config, tokens = device
    record = tmp_path / "rolls.db"
    log = log_beside(record)
    with edge_run(tmp_path, "0", "--config", config) as (process, bare):
        assert "#token" not in bare
        defects = wait_for(lambda: httpx.get(f"{bare}roll", timeout=START_S).json()["defects"])
        verdict = {"id": defects[0]["id"], "verdict": "confirmed"}
        assert post(bare, "x" * 32, "reviews", verdict).status_code == 401
        assert post(bare, tokens["anna"], "reviews", verdict).json()["who"] == "anna"
        refused = post(bare, tokens["anna"], "rolls", {"id": "1" * 32, "name": "B 18"})
        assert refused.status_code == 403
        assert refused.json()["problem"] == "To start a roll needs the role shift-lead; anna is operator."
        assert post(bare, tokens["bert"], "rolls", {"id": "1" * 32, "name": "B 18"}).status_code == 202
        assert wait_for(lambda: entries(log, "roll changed"))
        asked = loomsight("roll", "next", record, "--roll", "B 19")
        assert asked.returncode == 0, asked.stderr
        assert loomsight("user", "remove", "anna", "--config", config).returncode == 0
        assert post(bare, tokens["anna"], "reviews", verdict).status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
    assert [entry.who for entry in entries(log, "verdict")] == ["user anna"]
    first, second = entries(log, "roll changed")
    assert (first.who, first.data["roll"]) == ("user bert", "B 18")
    assert second.who.startswith("command line: unix user ")
    assert [entry.data["user"] for entry in entries(log, "user added")] == ["anna", "bert", "carl"]
    assert [entry.data["user"] for entry in entries(log, "user removed")] == ["anna"]
    assert heads_in(record, log.name)[-1] == verify_log(log).head
    done = loomsight("audit", "verify", record)
    assert done.returncode == 0, done.stderr
    assert "none changed, missing, inserted or moved" in done.stdout
    shown = loomsight("audit", "show", "--config", config, "--kind", "verdict")
    assert "user anna  verdict" in shown.stdout
    exported = loomsight("roll", "export", record, "--roll", "A17", "--format", "json")
    judged = json.loads(exported.stdout)["technical"]["defects"]
    assert "anna" in {one["verdict_by"] for one in judged}
    report = tmp_path / "A17.html"
    assert loomsight("roll", "report", record, "--roll", "A17", "--out", report).returncode == 0
    assert "verdict by" in report.read_text()


@needs_chromium
def test_the_page_shows_who_gave_a_verdict_and_what_a_role_may_not(device, browser, tmp_path):
    config, tokens = device
    with ExitStack() as stack:
        _, bare = stack.enter_context(edge_run(tmp_path, "0", "--config", config))
        with tab_of(browser, f"{bare}#token={tokens['anna']}", 1280, 800) as tab:
            tab.wait_for_selector("#defects .yes")
            defect = tab.locator("#defects li").first.get_attribute("data-id")
            tab.locator(f"#defects [data-id='{defect}'] .yes").click()
            tab.wait_for_selector(f"[data-id='{defect}'].confirmed")
            assert "· anna" in tab.locator(f"[data-id='{defect}'] .stamp").inner_text()
            tab.locator("#next summary").click()
            tab.locator("#next button").click()
            assert wait_for(lambda: "needs the role shift-lead" in tab.inner_text("#next-said"))
    with closing(sqlite3.connect(tmp_path / "rolls.db")) as db:
        assert db.execute("SELECT name FROM reviewers").fetchall() == [("anna",)]


def test_settings_that_changed_and_bundles_that_were_switched(bundle, tmp_path):
    record, config = tmp_path / "rolls.db", tmp_path / "box.toml"
    log = log_beside(record)
    config.write_text(f'roll_record = "{record}"\n')
    assert short_run(record, bundle).returncode == 0
    assert short_run(record, bundle).returncode == 0
    assert short_run(record, bundle, "--stop", "off", "--article", "twill").returncode == 0
    first, second, third = entries(log, "settings in force")
    assert first.data["changed"] is None if "changed" in first.data else True
    assert "settings" in first.data
    assert "settings" not in second.data
    assert second.data["settings_sha256"] == first.data["settings_sha256"]
    assert third.data["changed"] == {"article": [None, "twill"], "stop.mode": ["shadow", "off"]}
    assert third.data["bundle_sha256"] == first.data["bundle_sha256"]
    store = tmp_path / "store"
    for words in (("install", bundle, store), ("rollback", store)):
        done = loomsight("bundle", *words, "--config", config)
        assert done.returncode == (0 if words[0] == "install" else 30), done.stderr
    (installed,) = entries(log, "bundle installed")
    assert installed.data["store"] == str(store)
    assert installed.who.startswith("command line: unix user ")
    assert loomsight("audit", "verify", "--config", config).returncode == 0


def test_a_forger_is_found(bundle, tmp_path):
    record = tmp_path / "rolls.db"
    log = log_beside(record)
    for _ in range(3):
        assert short_run(record, bundle).returncode == 0
    lines = lines_in(log)
    forged = {
        "Entry 2 was changed": [lines[0], lines[1].replace(b"shadow", b"hidden"), *lines[2:]],
        "Entry 3 is missing before entry 4": [*lines[:2], *lines[3:]],
        "its end was cut off": lines[:-1],
        "is another one than": rechained([*lines[:2], *lines[3:]]),
    }
    for said, others in forged.items():
        log.write_bytes(b"".join(others))
        done = loomsight("audit", "verify", record)
        assert done.returncode == 44, said
        assert said in done.stdout
        assert done.stderr.splitlines()[-1].startswith(
            f"error: The audit log {log} is not what was written: "
        )
    log.write_bytes(b"".join(lines[:-1]))  # the next run finds it by itself
    done = short_run(record, bundle)
    assert done.returncode == 0
    assert "was changed" in done.stderr
    assert [entry.kind for entry in entries(log)][-2:] == ["log damaged", "settings in force"]


def test_a_killed_run_leaves_a_whole_chain(device, tmp_path):
    config, tokens = device
    log = log_beside(tmp_path / "rolls.db")
    for said in ("rejected", "confirmed"):
        with edge_run(tmp_path, "0", "--config", config) as (process, bare):
            defects = wait_for(
                lambda bare=bare: httpx.get(f"{bare}roll", timeout=START_S).json()["defects"]
            )
            verdict = {"id": defects[-1]["id"], "verdict": said}
            assert post(bare, tokens["carl"], "reviews", verdict).status_code == 200
            process.kill()
    verdicts = entries(log, "verdict")
    assert len(verdicts) == 2
    done = loomsight("audit", "verify", "--config", config)
    assert done.returncode == 0, done.stdout


def test_a_log_that_cannot_be_written_does_not_end_inspection(bundle, tmp_path):
    record = tmp_path / "rolls.db"
    log = log_beside(record)
    log.with_name(f"{log.name}.lock").mkdir()
    done = short_run(record, bundle)
    assert done.returncode == 0, done.stderr
    assert f"Cannot write the audit log {log}" in done.stderr
    assert "Inspection goes on; entries wait." in done.stderr
    assert "1 entry of the audit log" in done.stderr
    log.mkdir()
    refused = short_run(record, bundle)
    assert refused.returncode == 40
    assert refused.stderr.splitlines()[-1] == f"error: {log} is a folder. Name a file."


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("audit", "verify"), 10, "Nothing names an audit log."),
        (("audit", "verify", "none.jsonl"), 44, "There is no audit log none.jsonl."),
        (("audit", "verify", "x.jsonl", "--head", "1:2"), 10, "--head 1:2 is no head of an audit log."),
        (("audit", "show", "."), 10, ". is a folder."),
        (("user", "list"), 10, "Nothing names a file of users."),
        (("user", "list", "--users", "none"), 10, "There is no file of users none."),
        (("user", "add", "x", "--role", "boss", "--users", "u"), 10, "There is no role 'boss'."),
        (("user", "add", "<x>", "--role", "operator", "--users", "u"), 10, "'<x>' is no name of a user."),
        (("bundle", "sign", "none", "--key", "none"), 10, "Cannot read none"),
        (("edge-run", "--camera", "loom", "--page", "0"), 10, "There is no file of users"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_with_a_cure(tmp_path, words, code, said):
    env = {"LOOMSIGHT_EDGE_PAGE_USERS_FILE": "none.json"} if words[0] == "edge-run" else {}
    done = loomsight(*words, cwd=tmp_path, env=env)
    assert done.returncode == code, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert said in line

"""Errors of SQLite in the page's request handlers: one clean answer, a log, a warning; it goes on."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
from collections import Counter
from contextlib import closing, contextmanager
from copy import copy
from functools import partial

import httpx
import pytest

from edge.health.state import Health
from edge.page import state
from edge.process.supervised import HELPER_FAILED, STEADY_S, watched_by
from edge.roll import reviews
from tests.unit.edge.health.probes import served_probes
from tests.unit.edge.page.pages import TOKEN, app_of, recorded_page
from tests.unit.edge.web.servers import served

KEY = {"Authorization": f"Bearer {TOKEN}"}
ERRORS = 200


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Page:
    """A page and its health, served by real servers about a real record."""

    def __init__(self, record, health, clock, client, page_at, health_port):
        self.record, self.health, self.clock = record, health, clock
        self._at, self._health_at = f"http://{page_at[0]}:{page_at[1]}", f"http://127.0.0.1:{health_port}"
        self._client = client
        with self.opened() as db:
            self.defect = db.execute("SELECT event_id FROM defects").fetchone()[0]

    def opened(self):
        return closing(sqlite3.connect(self.record, isolation_level=None))

    def ask(self, what):
        if what == "review":
            body = {"id": self.defect, "verdict": "confirmed"}
            return self._client.post(f"{self._at}/reviews", json=body, headers=KEY)
        path = {"roll": "/roll", "image": f"/images/{self.defect}", "state": "/state"}[what]
        return self._client.get(self._at + path)

    def healthz(self):
        return self._client.get(f"{self._health_at}/healthz").json()


@contextmanager
def served_page(folder):
    """Yield a page about a record that is being written."""
    clock = Clock()
    health = Health(600.0, clock=clock)
    with (
        recorded_page(folder, health=health) as (live, recorder, _),
        watched_by(health.helpers),
        served(app_of(live)) as at,
        served_probes({None: health}) as health_port,
        httpx.Client(verify=False, trust_env=False, timeout=60) as client,
    ):
        yield Page(recorder.path, health, clock, client, at, health_port)


def overwritten(page, with_bytes, at=0):
    """Overwrite the database and its log, as a failing disk does; returns what makes it whole again."""
    files = [page.record, page.record.with_name(f"{page.record.name}-wal")]
    whole = {file: file.read_bytes() for file in files}

    def write(contents):
        for file, data in contents.items():
            with file.open("r+b") as stream:
                stream.write(data)

    write({file: data[:at] + with_bytes[: len(data) - at] for file, data in whole.items()})
    return partial(write, whole)


def without_table(page):
    with page.opened() as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("ALTER TABLE defects RENAME TO gone")
        db.execute("CREATE VIEW defects AS SELECT * FROM nowhere")

    def heal():
        with page.opened() as db:
            db.execute("DROP VIEW defects")
            db.execute("ALTER TABLE gone RENAME TO defects")

    return heal


def of_another_program(page):
    with page.opened() as db:
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        db.execute("PRAGMA application_id = 7")

    def heal():
        with page.opened() as db:
            db.execute(f"PRAGMA application_id = {mark}")

    return heal


def away(page):
    """Take the file away from under the page; its handles stay open."""
    aside = page.record.with_name("aside")
    page.record.rename(aside)
    return partial(aside.rename, page.record)


WAYS = {
    "not a database": lambda page: overwritten(page, b"\xa5" * 4096),
    "a table is gone": without_table,
    "of another program": of_another_program,
    "the file is gone": away,
}


def check_refusal(answer):
    """See that an answer is 503 and one line of plain words."""
    assert answer.status_code == 503
    problem = answer.json()["problem"]
    assert problem
    assert "\n" not in problem
    assert "Traceback" not in answer.text
    return problem


@pytest.mark.parametrize("way", WAYS)
def test_a_record_that_cannot_be_read_is_one_line_for_each_request_and_health_warns(
    tmp_path, caplog, monkeypatch, way
):
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(state, "FRESH_S", 0.0)
    with served_page(tmp_path) as page:
        assert {page.ask(what).status_code for what in ("roll", "image", "state")} == {200}
        heal = WAYS[way](page)
        problem = check_refusal(page.ask("roll"))
        check_refusal(page.ask("image"))
        if way != "of another program":  # whoever writes the record has checked that
            check_refusal(page.ask("review"))
        assert page.ask("state").status_code == 200
        said = page.healthz()
        assert said["ok"]
        assert any("'page' failed and goes on" in line and "rolls.db" in line for line in said["warnings"])
        assert page.ask("state").json()["troubles"][0]["text"] == "A part of the program fails: this page."
        assert [event.kind for event in page.health.helpers.events()] == [HELPER_FAILED]
        heal()
        assert {page.ask(what).status_code for what in ("roll", "image", "review")} == {200}
        page.clock.now_s += STEADY_S
        assert page.healthz()["warnings"] == []
    lines = [record.getMessage() for record in caplog.records if record.name == "edge.page.app"]
    assert lines == [f"the page: {problem}"]
    assert all(record.exc_info is None for record in caplog.records)


def test_a_record_that_another_program_holds_is_said_by_health_too(tmp_path, monkeypatch):
    monkeypatch.setattr(reviews, "BUSY_MS", 20)
    with served_page(tmp_path) as page:
        with page.opened() as other:
            other.execute("BEGIN IMMEDIATE")
            assert "in use by another program" in check_refusal(page.ask("review"))
            assert page.ask("roll").status_code == 200  # readers do not wait
        assert any("in use by another program" in line for line in page.healthz()["warnings"])
        assert page.ask("review").status_code == 200


OF_SQLITE = [
    sqlite3.OperationalError("database is locked"),
    sqlite3.OperationalError("database or disk is full"),
    sqlite3.OperationalError("disk I/O error"),
    sqlite3.DatabaseError("database disk image is malformed"),
    sqlite3.IntegrityError("FOREIGN KEY constraint failed"),
    sqlite3.ProgrammingError("Cannot operate on a closed database."),
    sqlite3.InterfaceError("bad parameter or other API misuse"),
    sqlite3.InternalError("x"),
    sqlite3.DataError("string or blob too big"),
]
OF_PYTHON = [MemoryError(), SystemError("x"), RuntimeError("x")]


class Faults:
    """Raise in statements of the page's threads, now and then."""

    def __init__(self):
        self.left = 0
        self._chance = random.Random(5)

    def strike(self):
        is_of_page = threading.current_thread() is not threading.main_thread()
        if self.left and is_of_page and self._chance.random() < 0.2:
            self.left -= 1
            raise copy(self._chance.choice(OF_SQLITE + OF_PYTHON))


@pytest.fixture
def faults(monkeypatch):
    made = Faults()

    class Struck(sqlite3.Connection):
        """A real connection, some of whose statements fail before they begin."""

        def execute(self, *arguments):
            made.strike()
            return super().execute(*arguments)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Struck))
    return made


def test_two_hundred_database_errors_in_the_handlers_are_two_hundred_answers(tmp_path, faults):
    with served_page(tmp_path) as page:
        before, statuses, asked = threading.active_count(), Counter(), 0
        faults.left = ERRORS
        while faults.left:
            answer = page.ask(("roll", "image", "review")[asked % 3])
            asked, statuses[answer.status_code] = asked + 1, statuses[answer.status_code] + 1
            assert "Traceback" not in answer.text
        assert set(statuses) == {200, 500, 503}
        assert (
            statuses[500] + statuses[503]
            == ERRORS
            == page.health.helpers.failures["page"] + (page.health.helpers.failures["test"])
        )
        assert page.health.helpers.dead == []
        assert page.healthz()["ok"]
        assert {page.ask(what).status_code for what in ("roll", "image", "review")} == {200}
        assert threading.active_count() <= before + 1
        with page.opened() as db:
            assert db.execute("SELECT verdict FROM reviews").fetchall() == [("confirmed",)]


WRONG = (None, "text", b"\xff\xfe", 2**62, float("inf"), b"\xed\xa0\xbd\n\x1b[31m")
COLUMNS = [
    ("rolls", "name"), ("rolls", "article"), ("rolls", "mm_per_line"), ("rolls", "reached_line"),
    ("rolls", "settings"), ("rolls", "cloth_width_mm"), ("defects", "score"), ("defects", "start_m"),
    ("defects", "class_name"), ("defects", "picture"), ("defects", "box_xyxy_px"), ("gaps", "start_m"),
    ("gaps", "end_m"), ("gaps", "reason"), ("gaps", "lines"), ("gaps", "start_line"), ("events", "kind"),
    ("events", "detail"), ("events", "utc"), ("reviews", "verdict"), ("reviews", "event_id"),
]  # fmt: skip


def test_a_value_of_a_wrong_type_is_left_out_or_one_line_and_never_an_accident(tmp_path, caplog):
    with served_page(tmp_path) as page:
        assert page.ask("review").status_code == 200
        for table, column in COLUMNS:
            for value in WRONG:
                for what, answer in asked_with(page, table, column, value):
                    assert answer.status_code in (200, 404, 503), (table, column, value, what)
        assert page.ask("roll").json()["defects"]
        assert "test" not in page.health.helpers.failures  # no error that nobody foresaw


def asked_with(page, table, column, value):
    """Put a value into all cells of a column, ask, and put back what was there."""
    with page.opened() as db:
        before = db.execute(f"SELECT {column}, rowid FROM {table}").fetchall()
        try:
            db.execute(f"UPDATE {table} SET {column} = ?", (value,))
        except sqlite3.IntegrityError:  # what the tables refuse cannot be there
            return
        yield from [(what, page.ask(what)) for what in ("roll", *(["image"] if table == "defects" else []))]
        db.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", before)

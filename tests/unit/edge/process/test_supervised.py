"""Helper threads outlive what they raise: logged, an event, in health; a dead one is visible at once."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from http.client import HTTPConnection

import pytest

from edge.health.metrics import metrics_text
from edge.health.state import Health
from edge.page.snapshot import RunCounts, Snapshot
from edge.page.trouble import troubles
from edge.pipeline.run_state import RunState
from edge.process.camera_log import about_camera, name_camera
from edge.process.last_resort import TRACEBACK_VARIABLE
from edge.process.supervised import (
    HELPER_DEAD,
    HELPER_FAILED,
    Helpers,
    HelperThread,
    OptionalWork,
    described,
    watched_by,
)
from tests.unit.edge.health.probes import served_probes


class Clock:
    """Tell the time that a test sets."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


class LibraryPanic(BaseException):
    """What a library in another language raises past `except Exception`."""


class UnspeakableError(Exception):
    """An error that cannot even say what it is."""

    def __str__(self):
        raise ValueError("no text")


class Work:
    """Raise these errors, one for each time it is started; then work until the end."""

    def __init__(self, *errors):
        self._errors = list(errors)
        self.end = threading.Event()
        self.is_working = threading.Event()

    def __call__(self):
        if self._errors:
            raise self._errors.pop(0)
        self.is_working.set()
        self.end.wait(10)

    def thread(self, name="mqtt"):
        return HelperThread(name, self, self.end, pause=lambda seconds: None)


def ended(work, thread):
    work.end.set()
    thread.join(5)
    return thread.has_ended and not thread.is_alive()


@pytest.mark.parametrize(
    "error",
    [
        IndexError("list index out of range"),
        sqlite3.OperationalError("disk I/O error"),
        MemoryError(),
        SystemExit(3),
        LibraryPanic("PanicException"),
        UnspeakableError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_thread_goes_on_after_any_error(error, caplog):
    work, helpers = Work(error), Helpers()
    with watched_by(helpers):
        thread = work.thread()
        thread.start()
    assert work.is_working.wait(5)
    (event,) = helpers.events()
    assert (event.kind, event.data["thread"]) == (HELPER_FAILED, "mqtt")
    assert type(error).__name__ in event.detail
    assert helpers.failures == {"mqtt": 1}
    assert helpers.dead == []
    assert "the helper thread 'mqtt' failed" in caplog.text
    assert ended(work, thread)
    assert helpers.dead == []


def test_many_errors_are_one_line_and_one_event_and_all_are_counted(caplog):
    work, helpers = Work(*[ValueError("again")] * 50), Helpers()
    with watched_by(helpers):
        thread = work.thread()
        thread.start()
    assert work.is_working.wait(5)
    assert ended(work, thread)
    assert helpers.failures == {"mqtt": 50}
    assert [event.kind for event in helpers.events()] == [HELPER_FAILED]
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 1


def test_pauses_grow_and_have_a_limit():
    pauses, work = [], Work(*[ValueError("again")] * 9)
    thread = HelperThread("mqtt", work, work.end, pause=pauses.append)
    thread.start()
    assert work.is_working.wait(5)
    assert ended(work, thread)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_the_end_is_reached_though_all_work_fails():
    def fail():
        raise ValueError("always")

    end = threading.Event()
    thread = HelperThread("mqtt", fail, end)
    thread.start()
    end.set()
    thread.join(5)
    assert thread.has_ended
    assert not thread.is_dead


@pytest.fixture
def dead(monkeypatch):
    """A thread that is gone, past its last resort."""
    thread = HelperThread("machine", lambda: None)
    monkeypatch.setattr(thread, "run", lambda: None)
    return thread


def test_a_dead_thread_is_in_healthz_metrics_and_page_at_once_and_an_event_once(dead):
    clock = Clock()
    health = Health(60.0, clock=clock)
    with served_probes({None: health}) as port, watched_by(health.helpers):
        assert healthz(port)[0] == 200
        dead.start()
        dead.join(5)
        status, answer = healthz(port)
    assert (status, answer["reasons"]) == (503, ["the helper thread 'machine' is dead"])
    assert b"loomsight_helpers_dead 1.0" in metrics_text({None: health})
    assert [event.kind for event in health.helpers.events()] == [HELPER_DEAD]
    assert health.helpers.events() == []
    assert health.helpers.as_json() == {"failures": {}, "dead": ["machine"]}
    run, names = RunState().snapshot(), ("machine",)
    shown = Snapshot("running", 0.0, RunCounts(*[0] * 7), run, helpers_dead=names, helpers_unwell=names)
    assert [(one.level, one.code, one.text) for one in troubles(shown, 0.0)] == [
        ("bad", "helper", "A part of the program is gone: stops of the machine.")
    ]


def healthz(port):
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    said = answer.status, json.loads(answer.read())
    connection.close()
    return said


def test_an_error_is_a_warning_of_healthz_for_a_while():
    clock = Clock()
    health = Health(1000.0, clock=clock)
    work = Work(IndexError("list index out of range"))
    with watched_by(health.helpers):
        thread = work.thread("machine")
        thread.start()
    assert work.is_working.wait(5)
    verdict = health.verdict()
    assert verdict.is_well
    (warning,) = verdict.warnings
    assert warning.startswith("'machine' failed and goes on: IndexError: list index out")
    assert b'loomsight_helper_failures_total{thread="machine"} 1.0' in metrics_text({None: health})
    clock.now_s += 31.0
    assert health.verdict().warnings == ()
    assert ended(work, thread)


def test_threads_started_by_a_helper_thread_are_watched_too_and_log_about_its_camera(caplog):
    caplog.handler.addFilter(name_camera)
    inner, helpers = Work(ValueError("inside")), Helpers()
    started = threading.Event()

    def outer():
        inner.thread("camera reader").start()
        started.set()

    with about_camera("left"), watched_by(helpers):
        thread = HelperThread("capture", outer)
    with about_camera("right"), watched_by(helpers):
        thread.start()
    assert started.wait(5)
    assert inner.is_working.wait(5)
    inner.end.set()
    assert helpers.failures == {"camera reader": 1}
    assert {record.camera for record in caplog.records} == {"right: "}


def test_ended_threads_are_forgotten_and_what_they_met_is_not():
    helpers = Helpers()
    with watched_by(helpers):
        for _ in range(3):
            work = Work(ValueError("once"))
            thread = work.thread("camera reader")
            thread.start()
            assert work.is_working.wait(5)
            assert ended(work, thread)
    assert helpers.failures == {"camera reader": 3}
    assert len(helpers._threads) == 1


def test_an_error_is_described_with_its_place():
    with pytest.raises(IndexError) as raised:
        [][1]
    assert described(raised.value).startswith("IndexError: list index out of range (test_supervised.py:")
    assert described(UnspeakableError()) == "UnspeakableError"


def test_optional_work_that_fails_is_said_once_and_counted(caplog, monkeypatch):
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    helpers, work = Helpers(), OptionalWork("kinds of defects")
    with watched_by(helpers):
        for _ in range(3):
            with work:
                raise ValueError("odd shape")
        with work:
            done = True
    assert done
    assert helpers.failures == {"kinds of defects": 3}
    assert [event.kind for event in helpers.events()] == [HELPER_FAILED]
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("kinds of defects failed: ValueError: odd shape")
    with pytest.raises(KeyboardInterrupt), work:
        raise KeyboardInterrupt
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    with pytest.raises(ValueError, match="odd shape"), work:
        raise ValueError("odd shape")

"""Metrics, the health check over HTTP, systemd's datagrams and its unit."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from weakref import WeakKeyDictionary

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.defects import ClothDefect
from edge.commands.service_cli import AGENT_UNIT, UNIT, unit_text
from edge.config.stop import StopSettings
from edge.core.errors import CameraLostError, ConfigError, OutputError
from edge.decisions.stops import Stops
from edge.health.metrics import metrics_text
from edge.health.state import Health, healthz
from edge.health.systemd import Systemd
from edge.page.server import MOST_PROBES
from edge.pipeline.run_state import RunState
from edge.teach.values import TeachingNow
from edge.web import connection
from tests.unit.edge.health.probes import served_probes
from tests.unit.edge.web.servers import everything, has_ipv6, said_to

ANALYZE = shutil.which("systemd-analyze")


class Clock:
    """Tell the time that a test sets."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(60.0, clock=clock)


class Standing:
    """A machine that says it stands."""

    mode = "on"
    delivery = None
    stands = True


STATES = WeakKeyDictionary()
"""How far each run is."""


def finished(health, frames=1, defects=()):
    state = STATES.setdefault(health, RunState())
    for number in range(frames):
        position = FramePosition(number * 0.1, 1.0, 1.0)
        frame = Frame(number, np.zeros((100, 4), np.uint8), 0.0, "test", position)
        state.coverage.passed(frame)
        state.last_frame, state.silent_s = frame, 0.0
        state.latency.add(20.0)
    state.take(list(defects))
    return seen(health, state)


def silent(health, seconds):
    state = STATES.setdefault(health, RunState())
    state.silent_s = seconds
    seen(health, state)


def seen(health, state):
    """Let health take in a state at once, and not only some moments after the last one."""
    health.update(state, [])
    health.end(state)
    return state


def test_well_while_frames_are_finished(health, clock):
    clock.now_s += 59
    assert health.verdict().is_well
    clock.now_s += 2
    assert health.verdict().reasons == ("no frame was finished since the start; 60 s are permitted",)
    finished(health)
    assert health.verdict().is_well
    silent(health, 61.0)
    clock.now_s += 61
    assert health.verdict().reasons == ("no frame was finished for 61 s; 60 s are permitted",)


def test_well_while_the_loom_is_known_to_stand(clock):
    health = Health(60.0, stops=Standing(), record_is_blocked=lambda: True, clock=clock)
    clock.now_s += 3600
    assert health.verdict().is_well
    assert health.verdict().warnings == ("the roll record cannot be written",)


def test_not_well_after_an_error(health):
    state = finished(health)
    state.error = CameraLostError("The camera is gone.", "Plug it in.")
    health.end(state)
    assert not health.verdict().is_well


def samples(health):
    families = text_string_to_metric_families(metrics_text({None: health}).decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_are_what_the_run_says(health):
    health.stops = Stops(StopSettings(after_start_m=0), ["broken"])
    state = finished(health, 3, [ClothDefect("broken", 0.9, 0, 0.1, 0, 5)])
    state.coverage.missed(FramePosition(0.3, 1.0, 1.0), 500, "overrun")
    state.latency.add(3000.0)
    state.detections_by_class["broken"] = 7
    health.stops.counts["would-be stop"] = 2
    state.waiting_frames, state.camera_down = 3, "frozen"
    state.camera_counters = {"lost lines": 12}
    state.coverage.away(2.5, 8)
    health.end(state)
    found = samples(health)
    assert found["loomsight_frames_total",] == 3
    assert found["loomsight_defects_total", "broken"] == 1
    assert found["loomsight_detections_total", "broken"] == 7
    assert found["loomsight_gap_metres", "overrun"] == pytest.approx(0.5)
    assert found["loomsight_gap_metres", "camera_down"] == 0
    assert found["loomsight_stop_events_total", "would_be_stop"] == 2
    assert found["loomsight_latency_seconds_bucket", "0.01"] == 0
    assert found["loomsight_latency_seconds_bucket", "0.025"] == 3
    assert (
        found["loomsight_latency_seconds_bucket", "+Inf"] == found["loomsight_latency_seconds_count",] == 4
    )
    assert found["loomsight_latency_seconds_sum",] == pytest.approx(3.06)
    assert found["loomsight_healthy",] == 1
    assert found["loomsight_queue_frames",] == 3
    assert found["loomsight_camera_up",] == 0
    assert found["loomsight_camera_down_seconds_total",] == 2.5
    assert found["loomsight_camera_events_total", "lost_lines"] == 12
    assert health.verdict().warnings == ("the camera is down: frozen",)


def test_an_article_that_is_learnt_and_cloth_that_is_unlike_what_was_taught_are_said(health):
    state = RunState(cloth_troubles=("other article", "thresholds drift"), recognised="twill 220")
    state.teaching = TeachingNow("denim", "reading", 12.345, 30.0, 2.1, is_new=True)
    health.update(state, [])
    answer = health.as_json()
    assert [line.split(":")[0] for line in answer["warnings"]] == [
        "the cloth is unlike the article that was taught",
        "the cloth comes nearer to an alarm than when it was taught",
        "the cloth looks like article 'twill 220', which was taught",
    ]
    assert "lamp" in answer["warnings"][0]
    assert "clean the lens" in answer["warnings"][1]
    assert answer["teaching"] == {
        "article": "denim",
        "phase": "reading",
        "metres": 12.35,
        "of_metres": 30.0,
        "would_carry_per_100m": 2.1,
    }
    found = samples(health)
    assert (found["loomsight_teaching",], found["loomsight_teaching_metres",]) == (1, 12.345)


def test_metrics_before_the_first_frame(health):
    assert samples(health)["loomsight_healthy",] == 1


def asked(port, path):
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_over_http(health, clock):
    with served_probes({None: health}) as port:
        finished(health)
        status, body = asked(port, "/healthz")
        assert (status, json.loads(body)["ok"]) == (200, True)
        clock.now_s += 100
        status, body = asked(port, "/healthz?verbose")
        assert status == 503
        assert json.loads(body)["reasons"]
        status, body = asked(port, "/metrics")
        assert status == 200
        assert b"loomsight_healthy 0.0" in body
        assert asked(port, "/etc/passwd")[0] == 404
        with pytest.raises(OutputError, match="another health_port"):
            served_probes({None: health}, port).__enter__()


def test_clients_that_say_nothing_do_not_fill_the_server(health, monkeypatch):
    monkeypatch.setattr(connection, "LOOK_S", 0.05)
    with served_probes({None: health}) as port, ExitStack() as stack:
        before = threading.active_count()
        slow = [stack.enter_context(client(port)) for _ in range(MOST_PROBES + 14)]
        for one in slow[MOST_PROBES:]:
            assert everything(one).startswith(b"HTTP/1.1 503 ")
        assert threading.active_count() == before
        monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", 0.1)
        assert [everything(one) for one in slow[:MOST_PROBES]] == [b""] * MOST_PROBES  # cut off
        assert asked(port, "/metrics")[0] == 200


def client(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_health_is_served_on_ipv6(health, host):
    with served_probes({None: health}, health_host=host) as port:
        finished(health)
        answer = httpx.get(f"http://[::1]:{port}/healthz")
        assert (answer.status_code, answer.json()["ok"]) == (200, True)


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("GET /healthz HTTP/1.0", "", b"200"),  # load balancers name nobody
        ("GET /healthz HTTP/1.1", "Host: localhost\r\n", b"200"),
        ("GET /metrics HTTP/1.1", "Host: loom7.mill.example:9100\r\n", b"200"),
        ("GET /metrics HTTP/1.1", "Host: evil.example\r\n", b"400"),
        ("GET /metrics HTTP/1.1", "Host: localhost\r\nOrigin: http://evil.example\r\n", b"403"),
        ("GET /metrics HTTP/1.1", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", b"403"),
        ("POST /healthz HTTP/1.1", "Host: localhost\r\nContent-Length: 5\r\n", b"413"),
        ("POST /healthz HTTP/1.1", "Host: localhost\r\n", b"405"),
    ],
)
def test_who_may_ask_for_health(health, request_line, headers, status):
    finished(health)
    with served_probes({None: health}, page_hosts=["loom7.mill.example"]) as port:
        head = f"{request_line}\r\n{headers}Connection: close\r\n\r\n"
        answer = said_to(("127.0.0.1", port), head.encode())
        assert answer[9:12] == status
        assert b"cache-control: no-store" in answer.lower()


@pytest.fixture
def manager(tmp_path):
    """A real datagram socket such as systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)

        def said():
            messages = []
            while True:
                try:
                    messages.append(listening.recv(4096).decode())
                except BlockingIOError:
                    return messages

        said.address = str(tmp_path / "notify")
        yield said


def kinds(messages):
    return [message.split("=")[0] for message in messages]


def test_systemd_hears_frames_and_nothing_else_feeds_its_watchdog(health, clock, manager):
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000000"}
    systemd = Systemd({None: health}, environment, clock)
    silent(health, 3.0)
    systemd.update(None)
    assert kinds(manager()) == ["STATUS"]  # no frame yet: not ready
    finished(health, 2)
    systemd.update(None)
    assert kinds(manager()) == ["READY", "WATCHDOG"]
    clock.now_s += 4.9
    systemd.update(None)
    assert "WATCHDOG=1" not in manager()  # at most four times as often as it wants
    clock.now_s += 10
    silent(health, 10.0)
    systemd.update(None)
    assert manager() == ["STATUS=no frame for 10 s"]
    health.stops = Standing()
    systemd.update(None)
    assert manager() == ["WATCHDOG=1"]
    systemd.stopping()
    assert manager() == ["STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/such/socket"}, {"NOTIFY_SOCKET": "@loomsight-none"}],
    ids=["none", "empty", "gone", "abstract"],
)
def test_without_systemd_nothing_happens(health, environment):
    systemd = Systemd({None: health}, environment)
    finished(health)
    systemd.update(None)
    systemd.stopping()


def test_a_watchdog_of_another_process_is_not_fed(health, manager):
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}
    finished(health)
    Systemd({None: health}, environment).update(None)
    assert "WATCHDOG" not in kinds(manager())


def test_paths_that_systemd_would_read_in_another_way():
    for program, config in (("edge-run", "/etc/a"), ("/opt/a b", "/etc/a"), ("/opt/a", "/etc/%n")):
        with pytest.raises(ConfigError, match="absolute path"):
            unit_text(Path(program), Path(config), "loomsight", 120)


@pytest.mark.parametrize(
    "user", ["a\nExecStart=/bin/sh", "a b", "", "%n", "-x", "a\x1b", "root\n", "x" * 40]
)
def test_a_user_that_is_no_name_does_not_get_into_the_unit(user):
    with pytest.raises(ConfigError, match="cannot be a user in a unit"):
        unit_text(Path("/opt/edge-run"), Path("/etc/loomsight/box.toml"), user, 120)


@pytest.mark.skipif(not ANALYZE, reason="no systemd-analyze here: `apt-get install systemd`")
@pytest.mark.parametrize("source", [UNIT, AGENT_UNIT], ids=["device", "agent"])
def test_the_units_as_systemd_reads_them(tmp_path, source):
    unit = tmp_path / source.name
    unit.write_text(unit_text(Path(sys.executable), Path("/etc/loomsight/box.toml"), "root", 120, source))
    done = subprocess.run([ANALYZE, "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, source.name in done.stderr) == (0, False), done.stderr


@pytest.fixture
def two(clock):
    return {"left": Health(60.0, clock=clock), "right": Health(60.0, clock=clock)}


def test_of_several_cameras_the_worst_counts_and_is_named(two, clock):
    finished(two["left"])
    assert healthz(two)["ok"]
    clock.now_s += 61
    finished(two["left"])
    answer = healthz(two)
    assert (answer["ok"], answer["cameras"]["left"]["ok"]) == (False, True)
    assert answer["reasons"] == ["right: no frame was finished since the start; 60 s are permitted"]
    two["right"].is_over = True  # at its end: nobody waits for a frame
    assert healthz(two)["ok"]
    two["right"].failure = "The camera is gone."
    assert healthz(two)["reasons"] == ["right: The camera is gone."]
    assert healthz({None: two["left"]}) == two["left"].as_json()


def test_metrics_of_several_cameras_are_told_apart_by_a_label(two):
    finished(two["left"], 3)
    finished(two["right"], 2, [ClothDefect("broken", 0.9, 0, 0.1, 0, 5)])
    text = metrics_text(two).decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    assert found["loomsight_frames_total", "left"] == 3
    assert found["loomsight_frames_total", "right"] == 2
    assert found["loomsight_defects_total", "right", "broken"] == 1
    assert found["loomsight_latency_seconds_bucket", "left", "+Inf"] == 3
    unlabelled = {key[0] for key in found if not {"left", "right"} & set(key)}
    assert unlabelled == {"loomsight_info"}
    alone = metrics_text({None: two["left"]}).decode()
    assert "camera=" not in alone


def test_every_camera_has_to_feed_the_watchdog(two, clock, manager):
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000000"}
    systemd = Systemd(two, environment, clock)

    def finish(name):
        finished(two[name])
        systemd.update(name)

    finish("left")
    assert manager() == ["STATUS=left: 1 frame, 0.1 m, 0 defects; right: starting"]
    finish("right")
    assert kinds(manager()) == ["READY", "WATCHDOG"]
    for _ in range(10):  # the thread of one hangs, the other goes on
        clock.now_s += 4
        finish("left")
    assert "WATCHDOG=1" not in manager()
    silent(two["right"], 3.0)
    systemd.update("right")
    finish("left")
    assert "WATCHDOG=1" not in manager()
    finish("right")
    assert manager() == ["WATCHDOG=1"]
    clock.now_s += 6
    two["right"].is_over = True  # it ended, or failed for good
    two["right"].failure = "The camera is gone."
    systemd.update("right")
    finish("left")
    assert manager() == [
        "STATUS=left: 12 frames, 0.1 m, 0 defects; right: The camera is gone.",
        "WATCHDOG=1",
    ]

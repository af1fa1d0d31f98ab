"""edge-run that stops a real Modbus server, tells a real broker and answers Prometheus, in one run."""

from __future__ import annotations

import json
import threading
import time
import urllib.request

import pytest

from edge.app.run import run
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError, MachineError
from edge.roll.reading import read_roll
from tests.ports import HeldPort
from tests.processes import loomsight
from tests.unit.edge.machine.plc import COILS, Plc
from tests.unit.edge.mqtt.broker import MOSQUITTO, OPENSSL, PASSWORD, USER, WHY_NOT, Broker, Subscriber

LOOM = "loom:seed=3,width_px=512,length_m=1,defects_per_m=20,mean_grey=120"
RULE = {"least_score": 0.0, "times": 1}


@pytest.fixture(scope="module")
def plc():
    with Plc() as plc:
        yield plc


def config(tmp_path, bundle, **changes):
    fields = {
        "camera": LOOM,
        "model": bundle,
        "cloth": "all",
        "threads": 1,
        "score_thresholds": {"broken": 0.4},
        "roll_record": tmp_path / "r.db",
        "stop": {"classes": {"broken": RULE}, "after_start_m": 0.0},
    }
    return EdgeConfig.model_validate({**fields, **changes})


def by_kind(record, kind):
    return [event for event in read_roll(record, None).events if event.kind == kind]


def test_a_would_be_stop_is_in_the_record(tmp_path, bundle):
    summary = run(config(tmp_path, bundle))
    events = by_kind(tmp_path / "r.db", "would-be stop")
    assert len(events) == summary["stops"]["would_be_stops"] > 0
    assert summary["stops"]["stops"] == 0
    known = {defect.event_id for defect in read_roll(tmp_path / "r.db", None).defects}
    for event in events:
        assert event.data["defects"]
        assert set(event.data["defects"]) <= known
        assert event.data["decision_ms"] > 0


def test_the_machine_is_stopped(tmp_path, bundle, plc):
    machine = {"kind": "modbus", "port": plc.port, "coil": 4}
    stop = {"mode": "on", "classes": {"broken": RULE}, "after_start_m": 0.0, "most_per_hour": 2}
    summary = run(config(tmp_path, bundle, machine=machine, stop=stop))
    assert plc.read(COILS, 4) == 1
    delivered = by_kind(tmp_path / "r.db", "stop delivered")
    stops = by_kind(tmp_path / "r.db", "stop")
    assert summary["stops"]["delivered"] == len(delivered) == len(stops) <= 2
    assert [one.data["stop"] for one in delivered] == [one.event_id for one in stops]
    assert summary["stops"]["stop_latency_ms"]["p99"] >= summary["stops"]["stop_latency_ms"]["p50"] > 0


def test_nothing_stops_the_machine_on_an_article_that_is_still_being_learnt(tmp_path, bundle, plc):
    machine = {"kind": "modbus", "port": plc.port, "coil": 5}
    stop = {
        "mode": "on",
        "classes": {"broken": RULE},
        "after_start_m": 0.0,
        "apart_m": 0,
        "most_per_hour": 2,
    }
    teach = {"folder": tmp_path / "articles", "metres": 0.5, "false_alarms_per_100m": 100}
    changes = {"machine": machine, "stop": stop, "auto_teach": teach, "article": "A"}
    longer = LOOM.replace("length_m=1", "length_m=1.8")
    run(config(tmp_path, bundle, camera=longer, **changes))
    (learnt,) = by_kind(tmp_path / "r.db", "article learnt")
    shadow, stops = by_kind(tmp_path / "r.db", "would-be stop"), by_kind(tmp_path / "r.db", "stop")
    assert len(shadow) == 2
    assert len(stops) == 2
    assert max(one.at_m for one in shadow) < learnt.at_m <= min(one.at_m for one in stops)


def test_the_limit_per_hour_holds_over_restarts(tmp_path, bundle):
    """A service that is started again and again stops the machine no more often than one that goes on."""
    stop = {"classes": {"broken": RULE}, "after_start_m": 0.0, "apart_m": 0.0, "most_per_hour": 3}
    made = [run(config(tmp_path, bundle, stop=stop, frames=6))["stops"]["would_be_stops"] for _ in range(2)]
    assert made == [3, 0]


def test_a_machine_that_is_away_does_not_hold_up_inspection(tmp_path, bundle):
    machine = {"kind": "modbus", "port": 1, "coil": 4, "give_up_s": 0.5}
    stop = {"mode": "on", "classes": {"broken": RULE}, "after_start_m": 0.0, "most_per_hour": 1}
    summary = run(config(tmp_path, bundle, machine=machine, stop=stop))
    assert summary["coverage"] == 1.0
    assert summary["stops"]["not_delivered"] == 1
    assert by_kind(tmp_path / "r.db", "stop not delivered")
    assert by_kind(tmp_path / "r.db", "machine lost")


def test_a_camera_without_position_stops_nothing(tmp_path, bundle):
    import cv2
    import numpy as np

    (tmp_path / "p").mkdir()
    cv2.imwrite(str(tmp_path / "p" / "a.png"), np.zeros((64, 64), np.uint8))
    machine = {"kind": "modbus", "port": 1, "coil": 4}
    stop = {"mode": "on", "classes": {"broken": RULE}}
    with pytest.raises(ConfigError, match="knows no position"):
        run(config(tmp_path, bundle, camera=str(tmp_path / "p"), machine=machine, stop=stop))


def test_health_while_running(tmp_path, bundle):
    answers = {}

    def ask():
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s and "metrics" not in answers:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
                    text = answer.read().decode()
                if "loomsight_frames_total" in text:
                    answers["metrics"] = text
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                        answers["healthz"] = (answer.status, json.loads(answer.read()))
            except OSError:
                time.sleep(0.02)

    camera = "loom:seed=3,width_px=256,live=true,speed_m_min=60,lines_per_block=100"
    with HeldPort() as port:
        asking = threading.Thread(target=ask)
        asking.start()
        run(config(tmp_path, bundle, camera=camera, seconds=3.0, health_port=port))
        asking.join(20)
    assert "loomsight_stop_events_total" in answers["metrics"]
    assert answers["healthz"][0] == 200
    assert answers["healthz"][1]["ok"]


@pytest.mark.skipif(not (MOSQUITTO and OPENSSL), reason=WHY_NOT)
def test_everything_recorded_reaches_the_broker_and_no_password_shows(tmp_path, bundle):
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker")
    broker.up()
    (tmp_path / "box.toml").write_text(
        f'[mqtt]\nuser = "{USER}"\nca_file = "{tmp_path}/broker/ca.pem"\nbox = "b1"\n'
        "[stop]\nafter_start_m = 0\n[stop.classes.broken]\nleast_score = 0\ntimes = 1\n"
        "[score_thresholds]\nbroken = 0.4\n",
        encoding="utf-8",
    )
    common = ["--config", tmp_path / "box.toml", "--mqtt", broker.url]
    with Subscriber(broker, "loomsight/b1") as subscriber:
        record = ["--roll-record", tmp_path / "r.db", "--summary", tmp_path / "s.json"]
        looking = ["--camera", LOOM, "--model", bundle, "--cloth", "all"]
        done = loomsight(
            "edge-run", *looking, *record, *common, "--verbose", env={"LOOMSIGHT_MQTT_PASSWORD": PASSWORD}
        )
        assert done.returncode == 0, done.stderr
        roll = read_roll(tmp_path / "r.db", None)
        recorded = {one.event_id for one in (*roll.defects, *roll.events)}
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s and len(subscriber.of("defect", "event", "stop")) < len(recorded):
            time.sleep(0.05)
        assert {one["id"] for one in subscriber.of("defect", "event", "stop")} == recorded
        assert subscriber.of("stop")
        kinds = {one.event_id: one.defect.kind for one in roll.defects}
        assert {one["id"]: one["kind"] for one in subscriber.of("defect")} == kinds
    shown = done.stdout + done.stderr + (tmp_path / "s.json").read_text() + json.dumps(roll.head)
    assert PASSWORD not in shown
    check = loomsight("mqtt", "check", *common, env={"LOOMSIGHT_MQTT_PASSWORD": PASSWORD})
    assert check.returncode == 0, check.stderr
    assert loomsight("mqtt", "check", *common, env={"LOOMSIGHT_MQTT_PASSWORD": "wrong"}).returncode == 43
    broker.down()


def test_stop_test_on_the_command_line(tmp_path, plc):
    (tmp_path / "box.toml").write_text(
        f'[machine]\nkind = "modbus"\nport = {plc.port}\ncoil = 9\n', encoding="utf-8"
    )
    flags = ["--config", tmp_path / "box.toml"]
    assert loomsight("stop", "probe", *flags).returncode == 0
    refused = loomsight("stop", "test", *flags)
    assert (refused.returncode, plc.read(COILS, 9)) == (ConfigError.exit_code, 0)
    fired = loomsight("stop", "test", *flags, "--yes")
    assert (fired.returncode, plc.read(COILS, 9)) == (0, 1)
    assert "acknowledged the stop" in fired.stdout
    (tmp_path / "gone.toml").write_text(
        '[machine]\nkind = "modbus"\nport = 1\ncoil = 9\n', encoding="utf-8"
    )
    gone = loomsight("stop", "test", "--config", tmp_path / "gone.toml", "--yes")
    assert gone.returncode == MachineError.exit_code
    assert "Traceback" not in gone.stderr

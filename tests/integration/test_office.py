"""The office with a real broker and a real database, each killed while devices report."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from edge.cloth.coverage import Coverage
from edge.config.mqtt import MqttSettings
from edge.fleet.database import connected
from edge.fleet.migrate import migrate
from edge.mqtt.publisher import Publisher
from edge.roll.reviews import Review, record_review
from tests.patience import wait_for
from tests.ports import HeldPort
from tests.processes import loomsight, program
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT, PlainBroker, Postgres, office_settings
from tests.unit.edge.mqtt.test_mqtt import defect, recording

pytestmark = pytest.mark.skipif(not HAS_SERVERS, reason=WHY_NOT)
PATIENCE_S = 120.0
IDS = {
    "defects": "SELECT event_id FROM defects",
    "events": "SELECT event_id FROM events",
    "verdicts": "SELECT review_id FROM reviews",
    "rolls": "SELECT roll_id FROM rolls",
}
STORED_IDS = {"verdicts": "review_id", "rolls": "roll_id"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broker")
    broker, postgres = PlainBroker(folder), Postgres()
    try:
        broker.up()
        postgres.up()
        yield broker, postgres
    finally:
        broker.down()
        postgres.remove()


@pytest.fixture
def office(servers, tmp_path):
    """The file of settings of an office with an empty database."""
    broker, postgres = servers
    url = postgres.database(f"office_{time.monotonic_ns()}")
    migrate(office_settings(url))
    port = HeldPort()
    file = tmp_path / "office.toml"
    file.write_text(
        f'health_port = {port.number}\nbatch_s = 0.05\n[mqtt]\nbroker = "{broker.url}"\n'
        f'client_id = "{tmp_path.name}"\nprefix = "{tmp_path.name}"\nlongest_pause_s = 1\n'
        f'[database]\nurl = "{url}"\n'
    )
    return file, url, port


class OfficeProcess:
    """`loomsight office run`, which can be killed."""

    def __init__(self, file):
        self._file = file
        self.up()

    def up(self):
        with (self._file.parent / "office.log").open("ab") as log:
            command = program("office", "run", "--config", self._file)
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def down(self, how=signal.SIGKILL):
        self._process.send_signal(how)
        return self._process.wait(PATIENCE_S)


def health(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())
    except OSError:
        return {"ok": False, "problems": []}


def recorded(path):
    with closing(sqlite3.connect(path)) as db:
        return {table: sorted(row[0] for row in db.execute(query)) for table, query in IDS.items()}


def stored(url):
    with connected(office_settings(url).database) as connection:
        return {
            table: sorted(
                row[0]
                for row in connection.execute(f"SELECT {STORED_IDS.get(table, 'event_id')} FROM {table}")
            )
            for table in IDS
        }


def left(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_sent)"
        ).fetchone()[0]


def device(broker, prefix, box, **changes):
    fields = {"broker": broker.url, "prefix": prefix, "box": box, "receipts": True, "receipt_s": 2.0}
    return MqttSettings(**{**fields, "longest_pause_s": 1.0, "flush_s": 0.0, **changes})


def test_kills_of_broker_database_and_office_lose_nothing_and_double_nothing(servers, office, tmp_path):
    broker, postgres = servers
    file, url, _ = office
    chosen = random.Random(7)
    path = tmp_path / "rolls.db"
    outbox, recorder = recording(path)
    process = OfficeProcess(file)
    try:
        with recorder, Publisher(outbox, device(broker, tmp_path.name, "loom-1")) as publisher:
            for victim in ["office", "broker", "database", "broker", "office", "database"]:
                for _ in range(15):
                    recorder.add([defect(chosen.random() * 100) for _ in range(3)], Coverage(), None)
                    recorder.event("camera silent", "x")
                    time.sleep(0.02)
                some = chosen.choice(recorded(path)["defects"])
                record_review(path, some, Review("rejected"))
                time.sleep(chosen.random() * 0.5)
                kill(victim, process, broker, postgres)
            recorder.finish(Coverage(), None, "finished")
            assert wait_for(lambda: left(path) == 0), (publisher.warnings(), publisher.why_away)
        assert stored(url) == recorded(path)
        with connected(office_settings(url).database) as connection:
            assert connection.execute("SELECT count(*) FROM refused").fetchone() == (0,)
            assert connection.execute("SELECT status, defects FROM rolls").fetchall() == [("finished", 270)]
            counts = connection.execute("SELECT sum(defects) FROM daily_defects WHERE dimension = 'loom'")
            assert counts.fetchone() == (270,)
    finally:
        process.down()


def kill(victim, process, broker, postgres):
    if victim == "office":
        process.down()
        process.up()
    elif victim == "broker":
        broker.down()
        broker.up()
    else:
        postgres.down(signal.SIGKILL)
        postgres.up()


def test_without_database_or_broker_it_waits_says_so_once_and_ends_cleanly(servers, office, tmp_path):
    broker, postgres = servers
    file, url, port = office
    process = OfficeProcess(file)
    try:
        assert wait_for(lambda: health(port.number)["ok"])
        postgres.down(signal.SIGKILL)
        outbox, recorder = recording(tmp_path / "rolls.db")
        with (
            recorder,
            Publisher(outbox, device(broker, tmp_path.name, "loom-1", receipts=False)) as publisher,
        ):
            recorder.add([defect(1.0)], Coverage(), None)
            assert wait_for(lambda: publisher.sent >= 2)
            assert wait_for(lambda: "database" in " ".join(health(port.number)["problems"]))
            broker.down()
            assert wait_for(lambda: "broker" in " ".join(health(port.number)["problems"]))
            time.sleep(2)
            postgres.up()
            broker.up()
            assert wait_for(lambda: health(port.number)["ok"])
            assert wait_for(lambda: len(stored(url)["defects"]) == 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port.number}/metrics", timeout=30) as answer:
            assert 'loomsight_office_rows_total{table="defects"}' in answer.read().decode()
        assert process.down(signal.SIGTERM) == 0
        log = (tmp_path / "office.log").read_text()
        assert log.count("the database is away") <= 3
        assert "Traceback" not in log
    finally:
        broker.down()
        broker.up()
        if process._process.poll() is None:
            process.down()


def test_the_whole_way_by_commands(servers, tmp_path):
    broker, postgres = servers
    url = postgres.database("by_commands")
    file = tmp_path / "office.toml"
    file.write_text(f'[mqtt]\nbroker = "{broker.url}"\n[database]\nurl = "{url}"\n')
    before = loomsight("office", "show", "looms", "--config", file)
    assert (before.returncode, before.stdout) == (45, "")
    assert "loomsight office migrate" in before.stderr
    assert (
        loomsight("office", "migrate", "--config", file).stdout == "schema version 0003, before nothing\n"
    )
    shown = loomsight("office", "show", "all", "--config", file)
    assert shown.returncode == 0, shown.stderr
    assert "Looms at a glance" in shown.stdout
    assert "0 partitions" in loomsight("office", "retain", "--config", file).stdout
    assert (
        loomsight("office", "reread", "--config", file).stdout == "0 messages stored now, 0 still refused\n"
    )
    unknown = loomsight("office", "show", "nonsense", "--config", file)
    assert unknown.returncode == 10
    assert "pareto-kind" in unknown.stderr
    down = loomsight("office", "migrate", "--config", file, "--to", "0001")
    assert down.stdout == "schema version 0001, before 0003\n"
    wrong = loomsight("office", "migrate", "--config", file, "--to", "0999")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (45, 1)
    written = loomsight("office", "grafana", tmp_path / "provisioning")
    assert written.returncode == 0
    assert json.loads((tmp_path / "provisioning" / "dashboards" / "looms.json").read_text())["panels"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("[database]\nurl = 'postgresql://u:secret@h/d'\n", 10, "password"),
        ("[database]\nurl = 'mysql://h/d'\n", 10, "postgresql://"),
        ("[mqtt]\nbroker = 'mqtt://127.0.0.1:1'\nnonsense = 1\n", 10, "nonsense"),
        ("[mqtt]\nbroker = 'mqtt://127.0.0.1:1'\n[shifts]\na = '25:00'\n", 10, "shifts.a"),
        ("time_zone = 'Mars/Olympus'\n", 10, "time_zone"),
        ("", 10, "mqtt.broker"),
    ],
    ids=["password", "another database", "unknown key", "no time", "no zone", "no broker"],
)
def test_a_wrong_setting_is_one_line(text, code, words, tmp_path):
    file = tmp_path / "office.toml"
    file.write_text(text)
    done = loomsight("office", "run", "--config", file)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert "secret" not in done.stderr


def test_a_database_that_is_away_is_one_line(tmp_path):
    file = tmp_path / "office.toml"
    file.write_text("[database]\nurl = 'postgresql://nobody@127.0.0.1:1/nothing'\n")
    for words in (["migrate"], ["show", "looms"], ["retain"], ["reread"]):
        done = loomsight("office", *words, "--config", file)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (45, "", 1), words
        assert "127.0.0.1:1/nothing" in done.stderr


def test_the_office_needs_no_torch_and_no_camera():
    modules = "{'torch', 'cv2', 'onnxruntime'} & {*sys.modules}"
    code = f"import sys, edge.fleet.running, edge.fleet.show; print({modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr

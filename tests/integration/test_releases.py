"""Releases through the real commands: a worse bundle ends at the canaries, a better one reaches all."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from edge.bundle.install import install
from edge.bundle.opening import open_bundle
from edge.bundle.store import bundle_path, is_store
from edge.core.files import file_digest
from edge.fleet.migrate import migrate
from edge.fleet.releases import Releases
from edge.fleet.settings import ReleaseSettings
from edge.roll.reviews import Review, record_review
from tests.conftest import write_bright_cell_bundle
from tests.patience import wait_for
from tests.processes import loomsight, program
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT, PlainBroker, Postgres, office_settings

pytestmark = pytest.mark.skipif(not HAS_SERVERS, reason=WHY_NOT)

IMAGES, SIDE_PX, MM_PER_PX = 40, 256, 10
BRIGHT, FAINT, CLOTH = 200, 150, 100
LOOMS = ("loom-1", "loom-2")


def write_cloth(folder):
    """Write 102 m of cloth with a bright and a faint cell on each image: a defect, and none."""
    folder.mkdir()
    chance = random.Random(7)
    for number in range(IMAGES):
        image = np.full((SIDE_PX, SIDE_PX), CLOTH, np.uint8)
        for grey, upper in ((BRIGHT, 4), (FAINT, 20)):
            left, top = 8 * chance.randrange(2, 30), 8 * (upper + chance.randrange(6))
            image[top : top + 8, left : left + 8] = grey
        cv2.imwrite(str(folder / f"{number:03}.png"), image)
    return folder


def bundle_of(folder, threshold):
    return write_bright_cell_bundle(
        folder, score_thresholds={"wrinkle": 0.5, "drop": 0.5, "broken": threshold}
    )


def release_id(bundle):
    return file_digest(bundle / "bundle.json")[:16]


def done(*words):
    finished = loomsight(*words)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


class Mill:
    """An office with a broker and a database, and two looms with an agent each."""

    def __init__(self, folder, broker, postgres):
        self.folder, self.cloth = folder, write_cloth(folder / "cloth")
        key = folder / "release.key"
        text = done("bundle", "key", "new", key).split('"')[1]
        self.bundles = {
            name: bundle_of(folder / name, threshold)
            for name, threshold in (("base", 0.7), ("alarms", 0.55), ("blind", 0.9), ("better", 0.69))
        }
        for bundle in self.bundles.values():
            done("bundle", "sign", bundle, "--key", key)
        url = postgres.database(f"releases_{time.monotonic_ns()}")
        migrate(office_settings(url))
        self.published = folder / "releases"
        self.published.mkdir()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(self.published)))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        url_of_releases = f"http://127.0.0.1:{self.server.server_port}"
        self.settings = ReleaseSettings(folder=self.published, key_file=key)
        self.office = folder / "office.toml"
        self.office.write_text(
            f'batch_s = 0.05\n[mqtt]\nbroker = "{broker.url}"\nprefix = "{folder.name}"\n'
            f'client_id = "{folder.name}"\nlongest_pause_s = 1\n[database]\nurl = "{url}"\n'
            f'[releases]\nfolder = "{self.published}"\nkey_file = "{key}"\ncheck_s = 1\n'
            "least_metres = 50\nmost_more_per_100m = 5\n"
        )
        for loom in LOOMS:
            (folder / loom).mkdir()
            install(self.bundles["base"], folder / loom / "model", lambda _: None)
            self.config(loom).write_text(
                f'model = "{folder}/{loom}/model"\ncandidate = "{folder}/{loom}/candidate"\n'
                f'roll_record = "{folder}/{loom}/rolls.db"\ncloth = "all"\noptics = "off"\nthreads = 1\n'
                f'mm_per_px = {MM_PER_PX}\ncloth_width_mm = 2560\ncamera = "{self.cloth}"\n'
                f'[trust]\nkeys = ["{text}"]\n'
                f'[mqtt]\nbroker = "{broker.url}"\nprefix = "{folder.name}"\nbox = "{loom}"\nflush_s = 30\n'
                f'[agent]\nurl = "{url_of_releases}"\nfolder = "{folder}/{loom}/agent"\n'
            )

    def config(self, loom):
        return self.folder / loom / "box.toml"

    def running(self, loom):
        """Return the id of the whole bundle that a loom runs."""
        path = bundle_path(self.folder / loom / "model")
        open_bundle(path)
        return path.name

    def candidate(self, loom):
        store = self.folder / loom / "candidate"
        return bundle_path(store).name if is_store(store) else None

    def look(self):
        for loom in LOOMS:
            done("agent", "--once", "--config", self.config(loom))

    def weave(self, loom, roll):
        done("edge-run", "--config", self.config(loom), "--roll", roll)

    def confirm(self, loom):
        """Confirm every defect that the bundle in use reported."""
        record = self.folder / loom / "rolls.db"
        with closing(sqlite3.connect(record)) as db:
            query = "SELECT event_id FROM defects WHERE event_id NOT IN (SELECT event_id FROM reviews)"
            found = [row[0] for row in db.execute(query)]
        for event_id in found:
            record_review(record, event_id, Review("confirmed"))
        return len(found)

    def publish(self, name, *words):
        return done(
            "office",
            "publish",
            self.bundles[name],
            "--looms",
            ",".join(LOOMS),
            "--config",
            self.office,
            *words,
        )

    def stage(self, name):
        found = [one for one in Releases(self.settings).read().releases if one.id == self.id(name)]
        return found[-1].stage if found else None

    def id(self, name):
        return release_id(self.bundles[name])


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def mill(tmp_path):
    broker, postgres = PlainBroker(tmp_path), Postgres()
    try:
        broker.up()
        postgres.up()
        yield (found := Mill(tmp_path, broker, postgres))
        found.server.shutdown()
        found.server.server_close()
    finally:
        broker.down()
        postgres.remove()


def tried(mill, name):
    """Publish a bundle, let the canary weave and its people judge; returns what became of it."""
    mill.publish(name, "--canary", "1")
    mill.look()
    assert (mill.candidate("loom-1"), mill.candidate("loom-2")) == (mill.id(name), None)
    mill.weave("loom-1", f"{name}-1")
    assert mill.confirm("loom-1") >= IMAGES - 2  # two that touch are one
    mill.weave("loom-1", f"{name}-2")  # brings the verdicts to the office
    assert wait_for(lambda: mill.stage(name) != "canary"), done(
        "office", "releases", "--judge", "--config", mill.office
    )
    mill.look()
    assert mill.candidate("loom-1") is None
    return mill.stage(name)


def test_a_worse_bundle_ends_at_the_canaries_and_a_better_one_reaches_all(mill):
    base = mill.running("loom-1")
    with subprocess.Popen(
        program("office", "run", "--config", mill.office), stderr=subprocess.DEVNULL
    ) as office:
        try:
            assert tried(mill, "alarms") == "stopped"
            assert tried(mill, "blind") == "stopped"
            assert {mill.running(loom) for loom in LOOMS} == {base}
            assert tried(mill, "better") == "released"
        finally:
            office.send_signal(signal.SIGTERM)
    assert {mill.running(loom) for loom in LOOMS} == {mill.id("better")}
    listed = done("office", "releases", "--config", mill.office)
    assert "it has more false alarms: " in listed
    assert "it misses defects: 0 of " in listed
    done("office", "rollback", "--config", mill.office)
    mill.look()
    assert {mill.running(loom) for loom in LOOMS} == {base}


def test_whatever_is_killed_each_device_runs_one_whole_bundle(mill):
    chance, base = random.Random(11), mill.running("loom-1")
    looms = ["--looms", ",".join(LOOMS), "--canary", "0", "--config", mill.office]
    commands = {
        "office": ("office", "publish", mill.bundles["better"], *looms),
        "agent": ("agent", "--once", "--config", mill.config("loom-1")),
        "device": ("edge-run", "--config", mill.config("loom-1"), "--roll", "A1"),
    }
    for victim in ["office", "agent", "device"] * 4:
        process = subprocess.Popen(
            program(*commands[victim]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.1, 2.0))
        process.kill()
        process.wait()
        Releases(mill.settings).read()  # whole, and signed
        assert mill.running("loom-1") in (base, mill.id("better"))
    done(*commands["office"])
    done(*commands["agent"])
    assert mill.running("loom-1") == mill.id("better")
    done(*commands["device"])

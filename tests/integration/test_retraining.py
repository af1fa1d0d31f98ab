"""From verdicts of three looms to labels, through the gate, to a release: see docs/retraining.md."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager

import cv2
import httpx
import numpy as np
import pytest

from edge.fleet.database import connected
from edge.fleet.migrate import migrate
from tests.conftest import write_bright_cell_bundle
from tests.patience import wait_for
from tests.ports import HeldPort
from tests.processes import loomsight, program
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT, PlainBroker, Postgres, office_settings

pytestmark = pytest.mark.skipif(not HAS_SERVERS, reason=WHY_NOT)

LOOMS = ("loom-1", "loom-2", "loom-3")
IMAGES, SIDE_PX = 12, 256
TOKEN = "a-token-that-is-long"


def write_cloth(folder, seed):
    """Write cloth with a bright cell on each image."""
    folder.mkdir(parents=True)
    chance = random.Random(seed)
    for number in range(IMAGES):
        image = np.full((SIDE_PX, SIDE_PX), 100, np.uint8)
        image[0] = [chance.randrange(98, 103) for _ in range(SIDE_PX)]  # no two images are alike
        left, top = 8 * chance.randrange(4, 28), 8 * chance.randrange(8, 24)
        image[top : top + 8, left : left + 8] = 200
        cv2.imwrite(str(folder / f"{number:03}.png"), image)
    return folder


def bundle_of(folder, threshold):
    return write_bright_cell_bundle(
        folder, score_thresholds={"wrinkle": 0.5, "drop": 0.5, "broken": threshold}
    )


@pytest.fixture
def servers(tmp_path):
    broker, postgres = PlainBroker(tmp_path), Postgres()
    try:
        broker.up()
        postgres.up()
        yield broker, postgres
    finally:
        broker.down()
        postgres.remove()


@contextmanager
def running(words, log):
    with log.open("w") as said, subprocess.Popen(program(*words), stdout=said, stderr=said) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0, log.read_text()
        finally:
            process.kill()


def device(folder, loom, broker, bundle, port):
    file = folder / loom / "box.toml"
    cloth = write_cloth(folder / loom / "cloth", loom)
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    file.write_text(
        f'model = "{bundle}"\ncamera = "{cloth}"\nroll_record = "{folder}/{loom}/rolls.db"\n'
        f'save_pictures = "{folder}/{loom}/found"\narticle = "twill"\ncloth = "all"\noptics = "off"\n'
        f'threads = 1\nmm_per_px = 1\ncloth_width_mm = 256\nselvedge_margin_mm = 0\npage = "{port}"\n'
        f'page_stays = true\npage_token_file = "{folder}/token"\n[mqtt]\nbroker = "{broker.url}"\n'
        f'prefix = "{folder.name}"\nbox = "{loom}"\nlongest_pause_s = 1\n'
    )
    return file


@contextmanager
def woven(files, roll, folder):
    """Inspect a roll on each loom; the pages stay."""
    with ExitStack() as stack:
        for loom, file in files.items():
            words = ("edge-run", "--config", file, "--roll", roll)
            stack.enter_context(running(words, folder / f"{loom}-{roll}.log"))
        yield


def stored(url, table):
    with connected(office_settings(url).database) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def judge(port):
    """Confirm the defects of a page, all but the first, which is rejected."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as page:
        found = page.get("/roll").json()["defects"]
        for number, one in enumerate(found):
            verdict = "confirmed" if number else "rejected"
            answer = page.post(
                "/reviews", json={"id": one["id"], "verdict": verdict, "class_name": None},
                headers={"Authorization": f"Bearer {TOKEN}"},
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
        return len(found)


def done(*words, code=0):
    finished = loomsight(*words)
    assert finished.returncode == code, finished.stderr
    return finished.stdout + finished.stderr


def test_verdicts_of_three_looms_become_labels_pass_the_gate_and_are_released(servers, tmp_path):
    broker, postgres = servers
    url = postgres.database(f"retraining_{time.monotonic_ns()}")
    migrate(office_settings(url))
    bundles = {
        name: bundle_of(tmp_path / name, at) for name, at in (("base", 0.7), ("new", 0.69), ("blind", 0.9))
    }
    ports = {loom: HeldPort() for loom in LOOMS}
    key = tmp_path / "release.key"
    done("bundle", "key", "new", key)
    pages = "".join(f'"{loom}" = "http://127.0.0.1:{port.number}"\n' for loom, port in ports.items())
    office = tmp_path / "office.toml"
    office.write_text(
        f'batch_s = 0.05\n[mqtt]\nbroker = "{broker.url}"\nprefix = "{tmp_path.name}"\n'
        f'client_id = "{tmp_path.name}"\nlongest_pause_s = 1\n[database]\nurl = "{url}"\n'
        f'[pages]\ntoken_file = "{tmp_path}/token"\n[pages.url]\n{pages}'
        f'[releases]\nfolder = "{tmp_path}/releases"\nkey_file = "{key}"\n'
    )
    collected = tmp_path / "labels"
    files = {
        loom: device(tmp_path, loom, broker, bundles["base"], port.number) for loom, port in ports.items()
    }
    with ExitStack() as stack:
        stack.enter_context(running(("office", "run", "--config", office), tmp_path / "office.log"))
        with woven(files, "A1", tmp_path):
            assert wait_for(lambda: stored(url, "rolls WHERE status = 'finished'") == len(LOOMS))
            judged = sum(judge(port.number) for port in ports.values())
        assert judged == len(LOOMS) * IMAGES
        stack.enter_context(woven(files, "A2", tmp_path))  # sends the verdicts, and has the page
        assert wait_for(lambda: stored(url, "last_verdicts") == judged)
        said = done("office", "collect", collected, "--config", office)
        assert f"3 rolls, {judged} verdicts, {judged} new images" in said
        again = done("office", "collect", collected, "--config", office)
        assert f"3 rolls, {judged} verdicts, 0 new images" in again
    parts = [part for part in ("train", "held-out") if (collected / part / "office-labels.json").is_file()]
    lines = [
        json.loads(line)
        for part in parts
        for line in (collected / part / "provenance.jsonl").read_text().splitlines()
    ]
    assert {line["loom"] for line in lines} == set(LOOMS)
    assert sorted(line["verdict"] for line in lines).count("rejected") == len(LOOMS)
    for part in parts:
        done("labels", "check", collected / part)
        done(
            "labels", "convert", collected / part, "--split", "train=1", "--out", tmp_path / f"runs-{part}"
        )
    boxes = sum(
        len(file.read_text().splitlines())
        for part in parts
        for file in (tmp_path / f"runs-{part}").rglob("labels/**/*.txt")
    )
    assert boxes == judged - len(LOOMS)  # a rejected defect is no box, and its image is clean
    held_out = collected / parts[-1]
    assert "not worse" in done("gate", bundles["base"], bundles["new"], "--data", held_out)
    refused = done("gate", bundles["base"], bundles["blind"], "--data", held_out, code=55)
    assert "The new bundle is worse on twill." in refused
    done("bundle", "sign", bundles["new"], "--key", key)
    released = done(
        "office", "publish", bundles["new"], "--looms", ",".join(LOOMS), "--canary", "1", "--config", office
    )
    assert "for 3 looms, first on loom-1" in released

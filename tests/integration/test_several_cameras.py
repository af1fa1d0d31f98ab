"""Several cameras in one process: each as it would be alone, and what happens to one is its own affair."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.app.assembly import OpenRun
from edge.app.run import run, run_box
from edge.config.device import load_box
from edge.core.errors import CameraNotFoundError, ConfigError, InternalError, ModelError, OutputError
from edge.roll.reading import read_roll
from tests.ports import HeldPort
from tests.processes import program
from tests.unit.edge.health.test_health import asked

CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: `apt-get install chromium`")

LOOMS = {
    "left": "loom:seed=1,width_px=256,lines_per_block=64,length_m=0.4,defects_per_m=20,mean_grey=120",
    "right": "loom:seed=2,width_px=256,lines_per_block=80,length_m=0.6,defects_per_m=20,mean_grey=120",
}
LIVE = "loom:seed=3,width_px=256,lines_per_block=100,speed_m_min=60,live=true"


@pytest.fixture
def box(tmp_path, bundle):
    """Write and load a box with the cameras given, each as its table; the rest is for all."""

    def load(cameras, shared="", **flags):
        tables = "".join(f"[cameras.{name}]\n{text}\n" for name, text in cameras.items())
        common = f"model = '{bundle}'\ncloth = 'all'\nthreads = 1\nscore_thresholds = {{broken = 0.45}}\n"
        (tmp_path / "box.toml").write_text(f"{common}{shared}\n{tables}")
        return load_box(tmp_path / "box.toml", {}, flags)

    return load


def addresses(**cameras):
    return {name: f"camera = '{address}'" for name, address in cameras.items()}


def found_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


WHAT = ("class_name", "score", "start_m", "end_m", "left_mm", "right_mm")


def recorded(path):
    roll = read_roll(path, None)
    return [[getattr(row.defect, key) for key in WHAT] for row in roll.defects], roll


def test_each_finds_what_it_finds_alone_to_the_bit(tmp_path, box):
    outputs = {"detections": tmp_path / "d.jsonl", "roll_record": tmp_path / "r.db"}
    outputs["selvedge_margin_mm"] = 0
    cameras = box(addresses(**LOOMS), **outputs, summary=tmp_path / "s.json")
    together = run_box(cameras)
    for camera, summary in zip(cameras, together, strict=True):
        alone = {
            "detections": tmp_path / f"alone-{camera.name}.jsonl",
            "roll_record": tmp_path / "alone.db",
            "summary": None,
        }
        expected = run(camera.with_values(**alone).config)
        assert summary["defects"] == expected["defects"]
        assert summary["lines"] == expected["lines"]
        assert found_in(camera.config.detections) == found_in(alone["detections"])
        ours, roll = recorded(camera.config.roll_record)
        assert ours == recorded(tmp_path / "alone.db")[0]
        assert len(ours) > 0
        assert roll.head["camera"] == f"{camera.name} (loom:seed={1 + (camera.name == 'right')})"
        assert json.loads((tmp_path / f"s-{camera.name}.json").read_text()) == json.loads(
            json.dumps(summary)
        )


def test_millimetres_are_those_of_the_cloth(tmp_path, box):
    loom = f"camera = '{LOOMS['left']}'\nloom = '7'\n"
    tables = {"left": f"{loom}offset_mm = -15", "right": f"{loom}offset_mm = 700"}
    cameras = box(tables, roll_record=tmp_path / "r.db", selvedge_margin_mm=0)
    left, right = run_box(cameras)
    moved = [one["left_mm"] for one in right["defects"] if one["left_mm"] > 715]
    there = [one["left_mm"] + 715 for one in left["defects"]]
    assert moved == pytest.approx(there[: len(moved)])
    assert len(there) > 0
    rolls = [read_roll(camera.config.roll_record, None).head["name"] for camera in cameras]
    assert rolls[0] == rolls[1]


def test_a_camera_that_fails_does_not_end_the_others(tmp_path, box, caplog):
    (tmp_path / "p").mkdir()
    cv2.imwrite(str(tmp_path / "p" / "a.png"), np.full((64, 64), 20, np.uint8))
    (tmp_path / "p" / "b.png").write_bytes(b"no image")
    cameras = addresses(broken=tmp_path / "p", gone=tmp_path / "gone", good=LOOMS["right"])
    cameras["model"] = f"camera = '{LOOMS['left']}'\nmodel = '{tmp_path}/none'"
    loaded = box(cameras, summary=tmp_path / "s.json")
    with pytest.raises(CameraNotFoundError, match="Camera 'gone': There is no camera"):
        run_box(loaded)
    good = json.loads((tmp_path / "s-good.json").read_text())
    assert good["metres_inspected"] == pytest.approx(0.6)
    assert json.loads((tmp_path / "s-broken.json").read_text())["frames"] == 1
    assert "camera 'model' failed, too: There is no model" in caplog.text
    assert "camera 'broken' failed, too: 1 of 2 images" in caplog.text
    assert not (tmp_path / "s-gone.json").exists()
    with pytest.raises(ModelError, match="Camera 'model'"):  # the first that failed
        run_box([one for one in loaded if one.name in ("broken", "model")])


def test_a_panic_in_the_thread_of_one_camera_is_its_error_and_the_other_goes_on(tmp_path, box, monkeypatch):
    class Panic(BaseException):
        """As of a library in Rust: no Exception."""

    inspect = OpenRun.inspect

    def inspect_or_panic(self):
        if self.called.startswith("left"):
            raise Panic("index out of range")
        return inspect(self)

    monkeypatch.setattr(OpenRun, "inspect", inspect_or_panic)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(InternalError, match=r"Camera 'left'.*Panic: index out of range"):
        run_box(box(addresses(**LOOMS), summary=tmp_path / "s.json"))
    assert json.loads((tmp_path / "s-right.json").read_text())["metres_inspected"] == pytest.approx(0.6)


def test_when_none_is_left_the_first_error_ends_the_box(tmp_path, box):
    with pytest.raises(CameraNotFoundError, match="Camera 'a'"):
        run_box(box(addresses(a=tmp_path / "a", b=tmp_path / "b")))


@pytest.mark.parametrize(
    ("right", "error"),
    [
        ("score_thresholds = {brokn = 0.1}", ConfigError),
        ("stop = 'on'", ConfigError),
        ("camera = 'loom:sead=1'", ConfigError),
        ("summary = '.'", OutputError),
        ("show = true", ConfigError),
    ],
)
def test_a_wrong_setting_of_one_ends_all_before_anything_is_touched(tmp_path, box, right, error):
    if "camera" not in right:
        right = f"camera = '{LOOMS['right']}'\n{right}"
    before = sorted(tmp_path.rglob("*"))
    tables = {"left": f"camera = '{LOOMS['left']}'", "right": right}
    with pytest.raises(error, match=r"Camera 'right'|camera 'right'"):
        run_box(box(tables, detections=tmp_path / "d.jsonl"))
    assert sorted(set(tmp_path.rglob("*")) - {tmp_path / "box.toml"}) == before


def test_a_window_shows_one_camera(box):
    with pytest.raises(ConfigError, match="one camera"):
        run_box(box(addresses(**LOOMS), show=True))


def test_a_signal_ends_all_and_every_summary_is_written(tmp_path, box):
    box(addresses(left=LIVE, right=LIVE), summary=tmp_path / "s.json")
    given = ["--config", tmp_path / "box.toml", "--detections", tmp_path / "d.jsonl"]
    given += ["--summary", tmp_path / "s.json"]
    command = program("edge-run", *given)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        out = [tmp_path / f"d-{name}.jsonl" for name in ("left", "right")]
        end_s = time.monotonic() + 60
        while not all(one.exists() and one.stat().st_size for one in out) and time.monotonic() < end_s:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        shown, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "INFO edge.inference.model: left: model" in errors
    for name, path in zip(("left", "right"), out, strict=True):
        summary = json.loads((tmp_path / f"s-{name}.json").read_text())
        assert summary["stopped_on_request"]
        assert len(found_in(path)) == summary["frames"] > 0
        assert f"loomsight on {name} (loom" in shown


@pytest.fixture
def two_ports():
    with HeldPort() as one, HeldPort() as other:
        yield one, other


def test_metrics_and_health_name_the_camera_and_the_page_has_all(tmp_path, box, capsys, two_ports):
    port, page = two_ports
    tables = addresses(left=LIVE, gone=tmp_path / "gone")
    answers = {}

    def ask():
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s and "page" not in answers:
            time.sleep(0.05)
            try:
                metrics = asked(port, "/metrics")[1].decode()
            except OSError:
                continue
            if 'loomsight_frames_total{camera="left"}' in metrics:
                answers["metrics"], answers["healthz"] = metrics, asked(port, "/healthz")
                with urllib.request.urlopen(f"http://127.0.0.1:{page}/cameras.json", timeout=5) as answer:
                    answers["page"] = json.loads(answer.read())
                answers["left"] = asked(page, "/left/state")
                answers["healthz of the page"] = asked(page, "/healthz")

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(CameraNotFoundError):
        run_box(box(tables, seconds=3.0, health_port=port, page=str(page)))
    asking.join(30)
    samples = {
        (sample.name, sample.labels.get("camera")): sample.value
        for family in text_string_to_metric_families(answers["metrics"])
        for sample in family.samples
    }
    assert samples["loomsight_healthy", "left"] == 1
    assert samples["loomsight_healthy", "gone"] == 0
    assert ("loomsight_info", None) in samples
    status, body = answers["healthz"]
    said = json.loads(body)
    assert (status, said["ok"], said["cameras"]["left"]["ok"]) == (503, False, True)
    assert said["reasons"][0].startswith("gone: There is no camera")
    assert answers["page"]["gone"]["troubles"][0]["code"] == "stopped"
    assert answers["page"]["left"]["phase"] in ("starting", "running")
    assert answers["left"][0] == 200
    assert answers["healthz of the page"][0] == 503
    assert json.loads(answers["healthz of the page"][1])["reasons"] == said["reasons"]
    assert f"page: http://127.0.0.1:{page}/#token=" in capsys.readouterr().err


@needs_chromium
def test_the_pages_in_a_browser(tmp_path, box):
    from playwright.sync_api import sync_playwright

    slow = LIVE.replace("speed_m_min=60", "speed_m_min=2")
    box(addresses(left=slow, right=slow))
    given = ["--config", tmp_path / "box.toml", "--page", "0"]
    command = program("edge-run", *given)
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process,
        sync_playwright() as playwright,
    ):
        try:
            address = process.stderr.readline().split()[1]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = browser.new_page(viewport={"width": 360, "height": 760})
            tab.set_default_timeout(60_000)
            errors = []
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.on("console", lambda line: line.type == "error" and errors.append(line.text))
            tab.goto(address)
            tab.wait_for_selector("[data-camera=left].trouble:has-text('m/min')")
            tab.wait_for_selector("[data-camera=left] img.now[src^=blob]")
            assert "Sees" in tab.inner_text("[data-camera=left] .sees")
            tab.click("[data-camera=right] a")
            tab.wait_for_selector("#cloth img:not([hidden])")
            assert tab.url == f"{address.partition('#')[0]}right/"
            assert "right (loom" in tab.inner_text("#camera")
            assert not errors
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 0

"""No script under docs/benchmarks rots: each starts with what it imports today."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bundle.opening import open_bundle
from tests.unit.edge.fleet.servers import HAS_SERVERS, WHY_NOT
from tests.unit.edge.mqtt.test_mqtt import needs_broker

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "docs" / "benchmarks"
ELSEWHERE = {"others.py"}
"""Run in an environment with anomalib."""

SOAK = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import soak

words = ["--camera", sys.argv[2], "--config", sys.argv[3], "--verbose", "--page", "0"]
process = subprocess.Popen([*soak.EDGE_RUN, *words], stderr=subprocess.PIPE, text=True)
watch = soak.Watch(process)
process.wait()
while watch.thread.is_alive():
    time.sleep(0.01)
print(bool(watch.page), bool(watch.health), len(watch.latencies) > 0)
"""

SHIPPED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import shipped

folder = Path(sys.argv[2])
small = ("--size-hw", "128", "128", "--difficulty", "obvious")


def trip(folder):
    if not (folder / "tripped").exists():
        (folder / "tripped").touch()
        sys.exit("power cut")


steps = (
    shipped.weave("a", 8, 1, 0.5, *small),
    shipped.weave("b", 8, 2, 0.5, *small),
    shipped.join("ab", "a", "b"),
    shipped.Step("power cut", trip),
    shipped.train("run", "ab", None, "--recipe", str(folder / "tiny.toml")),
    shipped.publish("run", "ab/images/val", folder / "bundle", folder / "weights.pt"),
)
print(*shipped.make(folder, steps), sep=", ")
"""

TINY_RECIPE = """
scale = "p"
input_size_hw_px = [64, 64]
overlap_px = 8
epochs = 1
batch = 8
"""

PROGRAM = """
import contextlib, io, runpy, sys, traceback
from pathlib import Path

folder = Path(sys.argv[1])
sys.path[:0] = [str(folder), str(folder.parents[1])]
for name in sys.argv[2:]:
    sys.argv = [name, "--help"]
    help_text = io.StringIO()
    try:
        start = runpy.run_path(str(folder / name), run_name="started")
        if "argparse" in start:
            with contextlib.redirect_stdout(help_text):
                start["main"]()
            print(f"{name}: main did not show its help")
    except SystemExit as end:
        if end.code or not help_text.getvalue().startswith("usage: "):
            print(f"{name}: ended with {end.code}")
    except BaseException:
        print(f"{name}: {traceback.format_exc(limit=-1)}")
"""


def test_every_script_starts_and_shows_its_help():
    names = sorted(
        path.name for path in SCRIPTS.glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")
    )
    assert len(names) > 20
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, SCRIPTS, *(name for name in names if name not in ELSEWHERE)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr


@pytest.mark.skipif(not HAS_SERVERS, reason=WHY_NOT)
def test_the_office_is_measured_with_devices_that_speak_mqtt():
    words = ["--looms", "2", "--processes", "1", "--minutes", "0.05", "--per-day", "20000"]
    found = measured("fleet.py", *words)
    assert found["defects"]["recorded"] + found["events"]["recorded"] > 0
    for table in ("defects", "events", "rolls"):
        counts = found[table]
        assert (counts["recorded"], counts["lost"], counts["duplicates"]) == (counts["stored"], 0, 0)


@pytest.mark.skipif(not HAS_SERVERS, reason=WHY_NOT)
def test_a_year_of_the_office_reads_the_days_that_are_asked_about():
    found = measured("fleet_year.py", "--looms", "2", "--days", "4")
    assert found["rows"]["defects"] == 2 * 4 * 60
    assert 0 < found["questions"]["defects"]["1 d"]["partitions_read"] < found["partitions_of_defects"]


@pytest.mark.parametrize(
    ("script", "words", "found"),
    [
        ("hostile.py", ["--inputs", "13"], lambda result: result["problems"] == 0),
        ("kills.py", ["--kills", "1", "--jobs", "user add", "roll import"], lambda result: (
            [one["problems"] for one in result["jobs"]] == [[], []]
        )),
        pytest.param(
            "bad_days.py", ["--kills", "2", "--days", "kills"], lambda result: (
                [one["verdict"] for one in result["days"]] == ["good"]
            ),
            marks=needs_broker,
        ),
    ],
    ids=["hostile", "kills", "bad days"],
)  # fmt: skip
def test_what_is_broken_on_purpose_is_found_whole(tmp_path, script, words, found):
    command = [sys.executable, SCRIPTS / script, tmp_path / "out.json", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert found(json.loads((tmp_path / "out.json").read_text())), done.stdout


def measured(script, *words):
    """Return the numbers that a script prints."""
    command = [sys.executable, SCRIPTS / script, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_soak_reads_page_health_and_times_from_what_a_run_says(tmp_path):
    (tmp_path / "box.toml").write_text("health_port = 0\n")
    cloth = "loom:seed=1,width_px=256,length_m=0.2,defects_per_m=0"
    done = subprocess.run(
        [sys.executable, "-c", SOAK, SCRIPTS, cloth, tmp_path / "box.toml"],
        capture_output=True, text=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["True True True"], done.stderr


def test_the_shipped_bundle_is_made_from_nothing_and_goes_on_after_a_power_cut(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)

    def make():
        command = [sys.executable, "-c", SHIPPED, SCRIPTS, tmp_path]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)

    assert "power cut" in make().stderr
    joined = (tmp_path / "ab").stat().st_mtime_ns
    again = make()
    assert again.stdout.splitlines()[-1] == "weave a, weave b, join ab, power cut, train run, publish", (
        again
    )
    assert (tmp_path / "ab").stat().st_mtime_ns == joined
    assert open_bundle(tmp_path / "bundle").manifest.contract.score_thresholds["drop"] == 0.5
    assert (tmp_path / "weights.pt").stat().st_size < 0.7 * (tmp_path / "run" / "best.pt").stat().st_size

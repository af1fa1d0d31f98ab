"""A real run over simulated cloth: what the detector saw double is one report, of one kind everywhere."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing

import pytest

from edge.cameras.loom import LoomCamera
from edge.cloth.defects import ClothDefect
from edge.simulator.options import parse_loom_options
from tests.unit.edge.roll.rolls import roll_command

ARTICLE = "weave=plain,warp_pitch_px=4,weft_pitch_px=4,mean_grey=120"
CREASE = f"loom:{ARTICLE},width_px=768,length_m=1,defects_per_m=8,seed=7102"
"""A crease at 0.8 m whose end the detector takes for a broken yarn, too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("run")
    command = [
        sys.executable, "-c", "from edge.commands.entry import edge_run; edge_run()", "--camera", CREASE,
        "--summary", str(tmp_path / "s.json"), "--roll-record", str(tmp_path / "r.db"),
        "--detections", str(tmp_path / "d.jsonl"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return tmp_path


def planted_there():
    with LoomCamera(parse_loom_options(CREASE)) as camera:
        return camera.planted_up_to(1.0)


def place_of(planted):
    return ClothDefect(planted.class_name, 1.0, *planted.along_m, *planted.across_mm)


def test_a_crease_with_an_end_like_a_broken_yarn_is_one_report_in_detections_summary_and_record(folder):
    summary = json.loads((folder / "s.json").read_text())
    found = [ClothDefect(**one) for one in summary["defects"]]
    (crease,) = [one for one in planted_there() if one.category == "crease" and one.difficulty == "obvious"]
    (report,) = [one for one in found if place_of(crease).touches(one)]
    assert report.class_name == "wrinkle"
    with closing(sqlite3.connect(folder / "r.db")) as db:
        rows = db.execute("SELECT class_name, start_m, points FROM defects ORDER BY start_m").fetchall()
    assert [row[1] for row in rows] == sorted(one.start_m for one in found)
    assert summary["four_points"]["points"] <= sum(row[2] for row in rows)
    assert summary["recurring"] == 0


def test_kinds_are_those_that_were_planted_and_the_same_in_every_output(folder):
    found = [ClothDefect(**one) for one in json.loads((folder / "s.json").read_text())["defects"]]
    kinds = {
        planted.category: {one.kind for one in found if place_of(planted).touches(one)}
        for planted in planted_there()
        if planted.difficulty != "barely visible"
    }
    assert all(said <= {category, None} for category, said in kinds.items())
    assert {"crease", "hole", "nep", "stain"} <= {one.kind for one in found}
    expected = sorted(((one.start_m, one.kind) for one in found), key=str)

    lines = [json.loads(line) for line in (folder / "d.jsonl").read_text().splitlines()]
    in_lines = [one.get("kind") for line in lines for one in line["detections"]]
    assert {"crease", "hole", "stain"} <= set(in_lines)

    record = folder / "r.db"
    shown = json.loads(roll_command("show", record, "--json").stdout)
    assert sorted(((one["start_m"], one["kind"]) for one in shown["defect_list"]), key=str) == expected
    assert {one["kind"]: one["defects"] for one in shown["by_kind"]} == Counter(one.kind for one in found)
    for form in ("csv", "jsonl"):
        out = folder / f"roll.{form}"
        assert roll_command("export", record, "--out", out, "--format", form).code == 0
    with (folder / "roll.csv").open(newline="") as stream:
        in_csv = [row["kind"] for row in csv.DictReader(stream)]
    in_order = [one.kind for one in sorted(found, key=lambda one: one.start_m)]
    assert in_csv == [kind or "" for kind in in_order]
    rows = [json.loads(line) for line in (folder / "roll.jsonl").read_text().splitlines()]
    assert [row.get("kind") for row in rows if row["type"] == "defect"] == in_order
    out = folder / "roll.html"
    assert roll_command("report", record, "--out", out).code == 0
    assert 'data-name="kind">hole</td>' in out.read_text()

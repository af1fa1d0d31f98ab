"""A real run over simulated cloth that the shipped detector saw double: one defect is one report."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

from edge.cameras.loom import LoomCamera
from edge.cloth.defects import ClothDefect
from edge.simulator.options import parse_loom_options

ARTICLE = "weave=plain,warp_pitch_px=4,weft_pitch_px=4,mean_grey=120"
CREASE = f"loom:{ARTICLE},width_px=768,length_m=1,defects_per_m=8,seed=7102"
"""A crease at 0.8 m whose end the detector takes for a broken yarn, too."""


def test_a_crease_with_an_end_like_a_broken_yarn_is_one_report_in_detections_summary_and_record(tmp_path):
    command = [
        sys.executable, "-c", "from edge.commands.entry import edge_run; edge_run()", "--camera", CREASE,
        "--summary", str(tmp_path / "s.json"), "--roll-record", str(tmp_path / "r.db"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    found = [ClothDefect(**one) for one in summary["defects"]]
    with LoomCamera(parse_loom_options(CREASE)) as camera:
        planted = camera.planted_up_to(1.0)
    (crease,) = [one for one in planted if one.category == "crease" and one.difficulty == "obvious"]
    place = ClothDefect(crease.class_name, 1.0, *crease.along_m, *crease.across_mm)
    (report,) = [one for one in found if place.touches(one)]
    assert report.class_name == "wrinkle"
    with closing(sqlite3.connect(tmp_path / "r.db")) as db:
        rows = db.execute("SELECT class_name, start_m, points FROM defects ORDER BY start_m").fetchall()
    assert [row[1] for row in rows] == sorted(one.start_m for one in found)
    assert summary["four_points"]["points"] <= sum(row[2] for row in rows)
    assert summary["recurring"] == 0

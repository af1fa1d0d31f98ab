"""What the stop policy of a real run counts: defects as `--detections` has them, each once."""

from __future__ import annotations

import json
import re

import pytest

from edge.app.run import run
from edge.config.edge import EdgeConfig
from edge.config.stop import StopSettings
from edge.decisions.stops import WOULD_BE_STOP
from edge.roll.reading import read_roll


@pytest.mark.parametrize("seed", [1, 15])
def test_a_stop_counts_no_more_than_detections_has(tmp_path, seed):
    """What several rows of tiles show is one detection there, and confirms nothing here."""
    detections, record = tmp_path / "d.jsonl", tmp_path / "r.db"
    run(
        EdgeConfig(
            camera=f"loom:seed={seed},length_m=0.6,defects_per_m=14,width_px=512",
            stop=StopSettings(after_start_m=0, apart_m=0, most_per_hour=100),
            detections=detections,
            roll_record=record,
        )
    )
    lines = [json.loads(line) for line in detections.read_text().splitlines()]
    starts = [
        (one["label"], line["along_m"] + max(0.0, one["box_xyxy_px"][1]) * 0.0002)
        for line in lines
        for one in line["detections"]
    ]
    assert len(starts) > 3
    stops = [event for event in read_roll(record, None).events if event.kind == WOULD_BE_STOP]
    for event in stops:
        counted = re.match(r"(\d+) detections of (\w+) within ([\d.]+) m", event.detail)
        if counted is not None:
            count, label, spread_m = int(counted[1]), counted[2], float(counted[3])
            first_m = event.at_m - spread_m - 0.1
            near = [at for name, at in starts if name == label and first_m <= at <= event.at_m]
            assert count <= len(near), event.detail

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from edge.bench.capacity import capacity, in_words, printed_ratio
from edge.bench.lines import KeptCamera, bench_lines
from edge.cameras.protocol import Frame, FramePosition, frames_of
from edge.commands.bench_cli import app as bench_app
from edge.commands.teach_cli import app as teach_app
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError, NoImagesError
from tests.conftest import write_bright_cell_bundle


def strip(number, position=None, mm_per_px=None):
    return Frame(
        number, np.full((48, 320), number, np.uint8), 0.0, "loom", position, mm_per_px, follows_on=True
    )


def test_kept_strips_run_on_as_one_piece_of_cloth():
    kept = [strip(number, FramePosition(3.0 + number, 0.5, 0.2, 10, 90)) for number in range(3)]
    given = list(frames_of(KeptCamera(kept, 7)))
    assert [frame.image[0, 0] for frame in given] == [0, 1, 2, 0, 1, 2, 0]
    assert [frame.frame_id for frame in given] == list(range(7))
    assert [frame.position.first_line for frame in given] == [48 * number for number in range(7)]
    assert {frame.position.left_selvedge_px for frame in given} == {None}
    assert not list(frames_of(KeptCamera(kept, 0)))


@pytest.mark.parametrize(
    ("one", "can"),
    [
        pytest.param(
            strip(0, FramePosition(0, 0.5, 0.2)),
            {"m_per_min": 14.4, "width_m": 0.064, "mm_per_px": 0.2},
            id="position",
        ),
        pytest.param(
            strip(0, mm_per_px=0.25), {"m_per_min": 7.2, "width_m": 0.08, "mm_per_px": 0.25}, id="scale"
        ),
        pytest.param(strip(0), None, id="unknown"),
    ],
)
def test_capacity_is_metres_a_minute_at_a_width_and_a_scale(one, can):
    assert capacity(one, len(one.image), 10.0) == can


def test_a_capacity_is_said_for_the_person_at_the_loom():
    can = {"m_per_min": 14.44, "width_m": 1.6, "mm_per_px": 0.2}
    assert in_words(can) == "14.4 m/min x 1.60 m at 0.2 mm/px"
    assert "--mm-per-px" in in_words(None)


@pytest.mark.parametrize(
    ("of", "to", "ratio"), [(10.004, 3.006, 3.322), (1.0, 0.0, 0.0), (0.995, 1.0, 0.99)]
)
def test_a_ratio_is_that_of_the_numbers_that_are_printed(of, to, ratio):
    assert printed_ratio(of, to, 2, 3) == ratio


@pytest.fixture
def config(tmp_path):
    return EdgeConfig(model=write_bright_cell_bundle(tmp_path / "bundle"))


def test_the_loop_is_measured_in_pairs_and_capacity_follows_from_it(tmp_path, config):
    out = tmp_path / "lines.json"
    camera = "loom:width_px=320,mm_per_px=0.2,lines_per_block=48"
    result = bench_lines(config, camera, strips=3, pairs=3, json_file=out)
    shape = result["shapes"][camera]
    assert out.read_text().startswith("{")
    assert shape["strip_hw_px"] == [48, 320]
    # 48 lines and the 16 carried over: tiles of 64 that share 16.
    assert shape["batches"] == [7]
    assert len(shape["pairs"]) == 3
    rates = (shape["strips_per_s"], shape["engine_strips_per_s"])
    assert shape["ratio"] == printed_ratio(*rates, 2, 3)
    assert shape["capacity"]["width_m"] == 0.064
    metres = shape["strips_per_s"] * 48 * 0.2 / 1000 * 60
    assert shape["capacity"]["m_per_min"] == pytest.approx(metres, rel=0.01)
    assert {"cloth", "optics", "preprocess", "infer", "decode", "merge", "write"} <= set(shape["stages_ms"])
    assert (result["measured_on"]["enhancement"], result["strips_per_turn"]) == ("none", 3)


def test_with_an_article_file_the_loop_has_turns_with_the_reference_too(tmp_path, config):
    cloth = "weave=plain,width_px=160,bed_left_mm=-20,bed_right_mm=-20,mean_grey=70,seed=3,defects_per_m=0"
    article, out = tmp_path / "article", tmp_path / "lines.json"
    words = ["--article", "plain", "--camera", f"loom:{cloth},length_m=0.96", "--model", str(config.model)]
    words += ["--false-alarms-per-100m", "1000", "--out", str(article), "--mm-per-px", "0.2"]
    taught = CliRunner().invoke(teach_app, words)
    assert taught.exit_code == 0, taught.output
    words = ["--camera", f"loom:{cloth}", "--model", str(config.model), "--reference", str(article)]
    words += ["--frames", "2", "--rounds", "3", "--json", str(out)]
    done = CliRunner().invoke(bench_app, [*words, "--lines"])
    assert done.exit_code == 0, done.output
    (shape,) = json.loads(out.read_text())["shapes"].values()
    beside = shape["with_reference"]
    assert beside["ratio"] == printed_ratio(beside["strips_per_s"], shape["strips_per_s"], 2, 3)
    assert len(beside["pairs"]) == len(shape["pairs"]) == 3
    assert "reference" in shape["stages_ms"]
    assert "of those without" in done.output
    refused = CliRunner().invoke(bench_app, words)
    assert isinstance(refused.exception, ConfigError)


def test_a_camera_without_frames_is_named(tmp_path, config):
    with pytest.raises(NoImagesError, match=r"loom:.*gave no frame"):
        bench_lines(config, "loom:length_m=0.00001", strips=1, pairs=1, json_file=None)

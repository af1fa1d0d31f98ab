"""Frames with and without cloth through the whole loop: the finder, the model and the files are real."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from edge.app.run import run
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError

HEIGHT, WIDTH = 128, 256


def woven(lines=HEIGHT):
    rows, columns = np.indices((lines, WIDTH))
    return (90 + 30 * np.sin(rows * np.pi / 4) * np.sin(columns * np.pi / 4)).astype(np.uint8)


def empty():
    return np.random.default_rng(0).normal(40, 2, (HEIGHT, WIDTH)).astype(np.uint8)


def spotted(image, top, left):
    """Put something bright on an image: the model takes it for a defect."""
    image = image.copy()
    image[top : top + 16, left : left + 16] = 255
    return image


def half():
    """Return a piece of cloth whose end lies at line 64, and the bare bed behind it."""
    image = empty()
    image[:64] = woven(64)
    return image


@pytest.fixture
def roll(tmp_path):
    folder = tmp_path / "roll"
    folder.mkdir()
    images = [
        spotted(woven(), 64, 64),
        spotted(half(), 96, 128),
        spotted(empty(), 32, 32),
        empty(),
        spotted(woven(), 32, 96),
    ]
    for number, image in enumerate(images):
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def inspected(tmp_path, bundle, roll, **settings):
    out = tmp_path / "out.jsonl"
    summary = run(EdgeConfig(camera=str(roll), model=bundle, detections=out, **settings))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    return summary, {line["frame_id"]: len(line["detections"]) for line in lines}


def test_what_lies_off_the_cloth_is_left_out_and_said(tmp_path, bundle, roll, capsys):
    summary, found = inspected(tmp_path, bundle, roll, mm_per_px=1.0)
    assert set(found) == {0, 1, 4}
    assert found[0] > 0
    assert found[1] == 0
    assert found[4] > 0
    assert summary["frames"] == 3
    assert summary["without_cloth"] == 2
    assert summary["detections_off_cloth"] > 0
    bare_m = 2 * 0.128 + 0.064
    assert summary["gaps_m"] == {"lost": 0.0, "no cloth": pytest.approx(bare_m, abs=0.017)}
    assert summary["gap_m"] == summary["gaps_m"]["no cloth"]
    assert summary["metres_inspected"] + summary["gap_m"] == pytest.approx(5 * 0.128)
    assert summary["coverage"] == pytest.approx(summary["metres_inspected"] / 0.64, abs=1e-5)
    assert "cloth" in summary["stages_ms"]
    assert "no cloth" in capsys.readouterr().out


def test_all_takes_every_image_as_cloth(tmp_path, bundle, roll, capsys):
    summary, found = inspected(tmp_path, bundle, roll, mm_per_px=1.0, cloth="all")
    assert [count > 0 for count in found.values()] == [True, True, True, False, True]
    assert summary["without_cloth"] == summary["detections_off_cloth"] == 0
    assert summary["gaps_m"] == {"lost": 0.0, "no cloth": 0.0}
    assert summary["coverage"] == 1
    assert "no cloth" not in capsys.readouterr().out


def test_frames_are_counted_where_nobody_knows_metres(tmp_path, bundle, roll):
    summary, _ = inspected(tmp_path, bundle, roll)
    assert summary["gaps_m"] is None
    assert summary["coverage"] == 0.6


def test_a_run_that_never_sees_cloth_is_inspected_whole(tmp_path, bundle, roll):
    """Cloth may be of a kind that the finder does not know: it has to prove itself first."""
    for name in ("0", "1", "4"):
        (roll / f"{name}.png").unlink()
    summary, found = inspected(tmp_path, bundle, roll, mm_per_px=1.0)
    assert [count > 0 for count in found.values()] == [True, False]
    assert summary["without_cloth"] == 0
    assert summary["coverage"] == 1


def test_the_simulated_loom_knows_where_its_cloth_is(tmp_path, bundle):
    loom = "loom:seed=3,width_px=512,length_m=0.3,defects_per_m=5"
    results = {
        cloth: inspected(tmp_path, bundle, loom, cloth=cloth, score_thresholds={"broken": 0.3})
        for cloth in ("auto", "all")
    }
    assert results["auto"][1] == results["all"][1]
    assert sum(results["auto"][1].values()) > 0
    assert results["auto"][0]["gap_m"] == 0


def test_another_word_than_these_two(tmp_path, bundle):
    from edge.config.device import load_camera

    with pytest.raises(ConfigError, match=r"cloth.*'auto' or 'all'"):
        load_camera(None, {}, {"camera": "loom", "cloth": "some"})


def hemmed():
    """Return a piece of cloth whose cut end, at line 64, shines: the model takes it for a defect."""
    image = half()
    image[52:62, 16:240] = 200
    return image


@pytest.mark.parametrize("margin_mm", [0, 10])
@pytest.mark.parametrize("mm_per_px", [None, 0.5])
def test_the_cut_end_of_the_cloth_is_no_defect(tmp_path, bundle, margin_mm, mm_per_px):
    folder = tmp_path / "roll"
    folder.mkdir()
    for number, image in enumerate([woven(), hemmed(), spotted(hemmed(), 8, 64)]):
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    summary, found = inspected(tmp_path, bundle, folder, selvedge_margin_mm=margin_mm, mm_per_px=mm_per_px)
    has_margin = margin_mm > 0 and mm_per_px is not None  # this model knows no scale either
    assert (found[1] == 0) == has_margin
    assert found[2] > 0
    assert (summary["detections_off_cloth"] > 0) == has_margin


def test_a_black_belt_is_no_cloth_from_the_first_frame_on(tmp_path, bundle, roll):
    belt = np.random.default_rng(0).normal(3, 1, (HEIGHT, WIDTH)).clip(0, 9).astype(np.uint8)
    for image in sorted(roll.iterdir(), reverse=True):
        image.rename(image.with_stem(str(int(image.stem) + 2)))
    for number in (0, 1):
        assert cv2.imwrite(str(roll / f"{number}.png"), spotted(belt, 32, 32))
    summary, found = inspected(tmp_path, bundle, roll, mm_per_px=1.0)
    assert set(found) == {2, 3, 6}
    assert summary["without_cloth"] == 4

"""Where a run may write: every pair of places that get in each other's way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.app.run import run
from edge.bench.frames import bench
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError, OutputError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a camera's images, images of an earlier run and a link to them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("pics", "found", "earlier"):
        (tmp_path / folder).mkdir()
    (tmp_path / "earlier" / "out.jsonl").write_text("earlier")
    (tmp_path / "found" / "00000001.png").write_text("earlier")
    (tmp_path / "link").symlink_to("pics")
    image = np.zeros((64, 64), np.uint8)
    image[16:32, 16:32] = 255
    cv2.imwrite(str(tmp_path / "pics" / "00000000.png"), image)
    return tmp_path


def settings(**values):
    return EdgeConfig.model_validate({"camera": "pics", "model": "bundle", **values})


def everything(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"detections": "a.json", "summary": "a.json"}, "--summary a.json", id="same-file"),
        pytest.param(
            {"detections": "a", "summary": "./x/../a.config.json"}, "settings beside", id="settings-file"
        ),
        pytest.param(
            {"detections": "found/d.jsonl", "save_pictures": "found"},
            "found/d.jsonl",
            id="file-in-images",
        ),
        pytest.param(
            {"summary": "new/s/s.json", "save_pictures": "new"}, "new/s/s.json", id="file-below-images"
        ),
        pytest.param({"summary": "new", "save_pictures": "new/images"}, "new/images", id="images-in-file"),
        pytest.param({"save_pictures": "pics"}, "--camera pics", id="camera"),
        pytest.param({"save_pictures": "pics/"}, "--camera pics", id="camera-with-slash"),
        pytest.param({"save_pictures": "link"}, "--camera pics", id="camera-by-link"),
        pytest.param({"save_pictures": "."}, "--camera pics", id="above-the-camera"),
        pytest.param(
            {"camera": "pics/00000000.png", "save_pictures": "pics"}, "--camera pics", id="above-an-image"
        ),
        pytest.param(
            {"camera": "pics/00000000.png", "summary": "pics/00000000.png"}, "--camera", id="an-image"
        ),
        pytest.param({"summary": "pics/00000000.png"}, "an image of --camera", id="one-of-its-images"),
        pytest.param({"summary": "bundle"}, "--model bundle", id="model"),
    ],
)
def test_outputs_in_each_others_way_are_refused_before_anything_is_touched(place, bundle, values, said):
    before = everything(place)
    with pytest.raises(ConfigError) as caught:
        run(settings(**values))
    assert said in str(caught.value)
    assert "a place of its own" in str(caught.value)
    assert everything(place) == before


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"detections": "earlier"}, "earlier is a folder", id="detections"),
        pytest.param({"summary": "found"}, "found is a folder", id="summary"),
        pytest.param({"save_pictures": "earlier"}, "earlier holds out.jsonl", id="images"),
        pytest.param({"camera": "loom", "model": None, "save_pictures": "."}, "new folder", id="here"),
    ],
)
def test_what_stands_in_the_way_is_found_before_anything_is_touched(place, bundle, values, said):
    before = everything(place)
    with pytest.raises(OutputError, match=said):
        run(settings(**values))
    assert everything(place) == before


def test_places_beside_each_other_are_fine(place, bundle):
    (place / "loom").mkdir()
    outputs = {"detections": "pics/d.jsonl", "summary": "pics/s.json"}
    run(settings(**outputs, save_pictures="pics/found"))
    run(settings(**outputs, save_pictures="pics/found"))
    assert {path.name for path in (place / "pics").iterdir()} == {
        "00000000.png", "d.jsonl", "d.jsonl.1", "d.jsonl.config.json", "d.jsonl.config.json.1", "found",
        "found.1", "s.json", "s.json.1",
    }  # fmt: skip
    run(settings(camera="loom:width_px=256", frames=1, save_pictures="loom"))


def test_several_streams_share_a_place(place, bundle):
    null = place / "null"
    null.symlink_to("/dev/null")
    before = everything(place)
    assert run(settings(detections=null, summary=null))["frames"] == 1
    assert everything(place) == before


def test_a_benchmark_looks_at_its_place_before_it_measures(place):
    """There is no model: had it started, that would be the error."""
    rounds = {"frames": 1, "rounds": 1, "idle_seconds": 0}
    before = everything(place)
    with pytest.raises(OutputError, match="earlier is a folder"):
        bench(settings(model="missing"), **rounds, json_file=place / "earlier")
    with pytest.raises(OutputError, match=r"out\.jsonl"):
        bench(settings(model="missing"), **rounds, json_file=place / "earlier" / "out.jsonl" / "b.json")
    assert everything(place) == before


def test_a_benchmark_sets_an_earlier_result_aside(place, bundle):
    out = place / "bench.json"
    out.write_text("earlier")
    bench(settings(), frames=1, rounds=1, idle_seconds=0, json_file=out)
    assert (place / "bench.json.1").read_text() == "earlier"
    assert out.read_text().startswith("{")

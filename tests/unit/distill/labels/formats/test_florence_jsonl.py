from __future__ import annotations

import json

import pytest

from distill.labels.formats import florence_jsonl
from distill.labels.formats.flip import flipped
from distill.labels.formats.registry import read_labels
from edge.core.errors import DatasetError
from tests.unit.distill.labels.label_sets import (
    TAXONOMY,
    everything,
    label_set,
    region,
    write_image,
    write_images,
)

MILLS_LINE = '{"prefix":"<OD>","suffix":"drop<loc_732><loc_481><loc_748><loc_501>","image":"0 (1).jpg"}'
FLIPPED_LINE = '{"prefix":"<OD>","suffix":"drop<loc_251><loc_481><loc_267><loc_501>","image":"0 (1)_h.png"}'
PLACE = "<loc_1><loc_2><loc_3><loc_4>"


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "images" / "0 (1).jpg", (50, 200))
    return tmp_path


def read(folder, *lines):
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return read_labels(folder / "train.jsonl", TAXONOMY)


@pytest.mark.parametrize("size_hw", [(50, 200), (640, 640), (256, 4096), (1, 1)], ids=str)
def test_the_mills_line_and_its_flipped_copy_reproduce(tmp_path, size_hw):
    write_image(tmp_path / "0 (1).jpg", size_hw)
    [image] = read(tmp_path, MILLS_LINE).images
    assert florence_jsonl.line(image) == MILLS_LINE
    assert florence_jsonl.line(flipped(image, "horizontal")) == FLIPPED_LINE


def test_several_objects_are_concatenated(folder):
    row = {"prefix": "<OD>", "suffix": f"drop{PLACE}broken{PLACE}drop{PLACE}{PLACE}", "image": "0 (1).jpg"}
    [image] = read(folder, json.dumps(row)).images
    assert [found.label for found in image.regions] == ["drop", "broken", "drop", "drop"]
    assert (
        json.loads(florence_jsonl.line(image))["suffix"]
        == f"drop{PLACE}broken{PLACE}drop{PLACE}drop{PLACE}"
    )


def test_an_empty_suffix_is_a_clean_image(folder):
    line = '{"prefix":"<OD>","suffix":"","image":"0 (1).jpg"}'
    [image] = read(folder, line).images
    assert image.regions == ()
    assert florence_jsonl.line(image) == line


def test_three_levels_and_phrases_are_understood(folder):
    label = str(TAXONOMY.kind("nep"))
    row = {"prefix": "<OD>", "suffix": f"{label}{PLACE}", "image": "0 (1).jpg"}
    [found] = read(folder, json.dumps(row)).images[0].regions
    assert (found.label, found.category) == ("drop", "nep")


def test_an_outline_becomes_a_region_with_one(folder):
    row = {"prefix": "<OD>", "suffix": f"drop<poly>{PLACE}<loc_500><loc_600></poly>", "image": "0 (1).jpg"}
    [found] = read(folder, json.dumps(row)).images[0].regions
    assert len(found.polygon_xy_px) == 3
    assert found.box_xyxy_px == pytest.approx((0.3, 0.125, 100.1, 30.025))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(MILLS_LINE[:50], "not valid JSON", id="truncated"),
        pytest.param("[1]", "needs the texts", id="no-object"),
        pytest.param('{"prefix":"<OD>","suffix":"drop"}', "needs the texts", id="no-image"),
        pytest.param(MILLS_LINE.replace("0 (1)", "gone"), "There is no file", id="no-image"),
        pytest.param(MILLS_LINE.replace("<OD>", "<CAPTION>"), "prefix '<CAPTION>'", id="another-task"),
        pytest.param(MILLS_LINE.replace("drop", ""), "before any label", id="no-label"),
        pytest.param(MILLS_LINE.replace("<loc_501>", ""), "3 location tokens", id="incomplete"),
        pytest.param(MILLS_LINE.replace("drop", "moth"), "'moth' is not in", id="unknown-class"),
        pytest.param(MILLS_LINE.replace("501", "1000"), "<loc_1000> is no token", id="no-such-bin"),
    ],
)  # fmt: skip
def test_a_bad_line_is_one_line_and_the_rest_is_read(folder, line, said):
    found = read(folder, MILLS_LINE, line, "")
    assert everything(found)[0].regions
    [problem] = found.problems.values()
    assert said in problem


def test_a_label_with_a_bracket_survives_and_an_empty_one_is_refused(tmp_path):
    root = write_images(tmp_path / "images")
    florence_jsonl.write(label_set(root, {"0001.bmp": (region("dr<op"),)}), tmp_path / "a.jsonl")
    assert "dr&lt;op<loc_" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    found = florence_jsonl.read(tmp_path / "a.jsonl", root)
    assert [found.label for image in found.images for found in image.regions] == ["dr<op"]
    with pytest.raises(DatasetError, match="no label"):
        florence_jsonl.write(label_set(root, {"0001.bmp": (region(" "),)}), tmp_path / "b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()

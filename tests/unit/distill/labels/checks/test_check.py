from __future__ import annotations

from dataclasses import replace

import pytest

from distill.labels.checks.check import check
from distill.labels.formats.registry import read_labels
from tests.unit.distill.labels.label_sets import (
    TAXONOMY,
    label_set,
    region,
    rich_set,
    write_image,
    write_images,
)


@pytest.fixture
def root(tmp_path):
    return write_images(tmp_path / "images")


def kinds(label_set_):
    return [finding.kind for finding in check(label_set_)]


def test_a_good_set_has_no_findings(root):
    assert check(rich_set(root)) == []


@pytest.mark.parametrize(
    ("regions", "found"),
    [
        pytest.param([region(box=(-1.0, 0.0, 9.0, 9.0))], ["outside"], id="left-of-it"),
        pytest.param([region(box=(0.0, 0.0, 9.0, 21.0))], ["outside"], id="below-it"),
        pytest.param([region(box=(0.0, 0.0, 330.4, 20.0))], [], id="rounded-over-the-edge"),
        pytest.param([region(box=(5.0, 5.0, 5.0, 9.0))], ["no area"], id="no-width"),
        pytest.param([region(box=(5.0, 9.0, 7.0, 5.0))], ["swapped corners"], id="upside-down"),
        pytest.param([region(box=(500.0, 9.0, 7.0, 5.0))], ["swapped corners", "outside"], id="both"),
        pytest.param([region("slub")], ["unknown class"], id="unknown-class"),
        pytest.param([region(), region()], ["duplicate box"], id="twice"),
        pytest.param([region(), region(box=(10.1, 10.1, 20.0, 20.0))], ["duplicate box"], id="nearly"),
        pytest.param([region(), region("broken")], [], id="another-class"),
        pytest.param([region(), region(box=(12.0, 10.0, 20.0, 20.0))], [], id="overlapping"),
        pytest.param([region(), region(box=(20.0, 10.0, 30.0, 20.0))], [], id="touching"),
    ],
)  # fmt: skip
def test_boxes(root, regions, found):
    assert kinds(label_set(root, {"0001.bmp": tuple(regions)})) == found


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(None, "unreadable image", id="missing"),
        pytest.param(b"", "unreadable image", id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0 truncated", "unreadable image", id="truncated"),
    ],
)
def test_images_that_cannot_be_read(root, content, kind):
    image = root / "0 (1).jpg"
    image.unlink() if content is None else image.write_bytes(content)
    [finding] = check(rich_set(root))
    assert (finding.kind, finding.file) == (kind, "0 (1).jpg")
    assert check(rich_set(root), with_images=False) == []


def test_an_image_of_another_size(root):
    write_image(root / "0001.bmp", (21, 330))
    [finding] = check(rich_set(root))
    assert (finding.kind, finding.detail) == ("wrong size", "330 x 21, its labels are for 330 x 20")


@pytest.mark.parametrize(("split", "kind"), [("train", "duplicate image"), ("val", "image in two splits")])
def test_the_same_image_in_another_format(root, split, kind):
    write_image(root / "copy.png", (20, 330), seed=3)
    good = rich_set(root)
    original = next(image for image in good.images if image.file_name == "0001.bmp")
    copy = replace(original, file_name="copy.png", split=split, group="another")
    [finding] = check(replace(good, images=(*good.images, copy)))
    assert (finding.kind, finding.file) == (kind, "copy.png")


def test_a_group_in_two_splits(root):
    good = rich_set(root)
    images = tuple(replace(image, group="roll 1") for image in good.images)
    found = check(replace(good, images=images))
    assert {finding.kind for finding in found} == {"group in two splits"}
    assert found[0].detail == "roll 1: test, train, val"


def test_what_could_not_be_read_is_a_finding(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation><object>")
    [finding] = check(read_labels(tmp_path, TAXONOMY))
    assert (finding.kind, finding.file) == ("not read", "a.xml")

"""What is written in any form reads back the same; through Florence's tokens within half a bin."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.labels.formats.location_tokens import BINS
from distill.labels.formats.registry import FORMATS, detect, read_labels
from distill.labels.sets.annotations import Region
from tests.unit.distill.labels.label_sets import TAXONOMY, label_sets, rich_set, write_images

EXACT_PX = 1e-9
PLACES = ("box_xyxy_px", "polygon_xy_px")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "images")


def there_and_back(label_set, name, folder):
    target = Path(folder) / f"labels{FORMATS[name].suffix}"
    assert FORMATS[name].write(label_set, target).left_out == {}
    assert detect(target) == name
    image_folder = None if name == "dataset" else label_set.root
    return read_labels(target, TAXONOMY, image_folder=image_folder)


def short(image):
    """Return the name without folders: a data set folder has its own."""
    return PurePosixPath(image.file_name).name


def attributes(region):
    return {f.name: getattr(region, f.name) for f in fields(Region) if f.name not in PLACES}


def error_px(region, again):
    pairs = [*zip(region.box_xyxy_px, again.box_xyxy_px, strict=True)]
    for corner, other in zip(region.polygon_xy_px or (), again.polygon_xy_px or (), strict=True):
        pairs += zip(corner, other, strict=True)
    return max(abs(a - b) for a, b in pairs)


def assert_same(label_set, again, *, bins: float = 0.0):
    """Compare two sets; a place may differ by so many of Florence's bins."""
    assert dict(again.problems) == {}
    assert again.class_names == label_set.class_names
    by_name = {short(image): image for image in again.images}
    assert sorted(by_name) == sorted(short(image) for image in label_set.images)
    for image in label_set.images:
        other = by_name[short(image)]
        assert (other.size_hw_px, other.group, other.split) == (image.size_hw_px, image.group, image.split)
        assert [attributes(r) for r in other.regions] == [attributes(r) for r in image.regions]
        limit = EXACT_PX + bins * max(image.size_hw_px) / BINS
        for region, region_again in zip(image.regions, other.regions, strict=True):
            assert error_px(region, region_again) <= limit


@pytest.mark.parametrize("name", FORMATS)
def test_everything_survives(tmp_path, root, name):
    label_set = rich_set(root)
    again = there_and_back(label_set, name, tmp_path)
    assert_same(label_set, again, bins=0.5 if name == "florence" else 0)


@pytest.mark.parametrize("name", FORMATS)
def test_the_images_are_found(tmp_path, root, name):
    again = there_and_back(rich_set(root), name, tmp_path)
    assert all((again.root / image.file_name).is_file() for image in again.images)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_any_set_survives(root, name, data):
    label_set = data.draw(label_sets(root))
    with tempfile.TemporaryDirectory() as folder:
        again = there_and_back(label_set, name, folder)
        assert_same(label_set, again, bins=0.5 if name == "florence" else 0)


def test_all_forms_one_after_another(tmp_path, root):
    label_set = current = rich_set(root)
    for step, name in enumerate((*FORMATS, *reversed(FORMATS))):
        folder = tmp_path / str(step)
        folder.mkdir()
        current = there_and_back(current, name, folder)
    assert_same(label_set, current, bins=0.5)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(FORMATS, 2)))
def test_the_second_reading_is_the_first(tmp_path, root, first, second):
    """What went through a form once does not wander when it goes through again."""
    once = there_and_back(rich_set(root), first, tmp_path)
    folder = tmp_path / "second"
    folder.mkdir()
    twice = there_and_back(once, second, folder)
    assert_same(once, replace(twice, root=once.root), bins=0.5 if second == "florence" else 0)

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.sets.annotations import AnnotatedImage, LabelSet
from distill.labels.sets.groups import by_name, by_table, grouped
from distill.labels.sets.sharing import SharingOptions, split_by_options
from distill.labels.sets.split import shares_from_text, split
from edge.core.errors import ConfigError, DatasetError
from tests.unit.distill.labels.label_sets import CLASSES, region

FRACTIONS = {"train": 0.7, "val": 0.2, "test": 0.1}


def a_set(groups):
    """Return a set from group -> the labels of each of its images."""
    images = [
        AnnotatedImage(f"{group}_{number}.png", (50, 50), tuple(region(label) for label in labels), group)
        for group, numbers in groups.items()
        for number, labels in enumerate(numbers)
    ]
    return LabelSet(Path(), CLASSES, tuple(images))


def splits_of_groups(label_set):
    found = defaultdict(set)
    for image in label_set.images:
        found[image.group].add(image.split)
    return found


drawn_groups = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4),
    st.lists(st.lists(st.sampled_from(CLASSES), max_size=3), min_size=1, max_size=4),
    min_size=3,
    max_size=25,
)


@given(drawn_groups, st.integers(0, 9))
def test_no_group_is_ever_split_and_the_seed_decides(groups, seed):
    label_set = a_set(groups)
    shared = split(label_set, FRACTIONS, seed)
    assert all(len(found) == 1 for found in splits_of_groups(shared).values())
    assert all(image.split in FRACTIONS for image in shared.images)
    assert split(label_set, FRACTIONS, seed) == shared
    backwards = replace(label_set, images=label_set.images[::-1])
    assert {i.file_name: i.split for i in split(backwards, FRACTIONS, seed).images} == {
        image.file_name: image.split for image in shared.images
    }


@given(st.integers(3, 30), st.integers(0, 9))
def test_each_split_has_each_class_when_that_is_possible(count, seed):
    """Every class has its own groups, as many as there are splits or more."""
    groups = {f"{name}{number}": [[name]] for name in CLASSES for number in range(count)}
    shared = split(a_set(groups), FRACTIONS, seed)
    held = {(image.split, found.label) for image in shared.images for found in image.regions}
    assert held == {(name, label) for name in FRACTIONS for label in CLASSES}


def test_the_shares_are_kept_for_images_and_classes():
    groups = {f"g{n}": [[CLASSES[n % 3]] * (n % 2 + 1), [], []] for n in range(300)}
    shared = split(a_set(groups), FRACTIONS, 0)
    numbers = Counter(image.split for image in shared.images)
    boxes = Counter((image.split, found.label) for image in shared.images for found in image.regions)
    for name, fraction in FRACTIONS.items():
        assert numbers[name] / 900 == pytest.approx(fraction, abs=0.02)
        for label in CLASSES:
            assert boxes[name, label] / 150 == pytest.approx(fraction, abs=0.02)


def test_a_class_with_one_group_is_for_training():
    groups = {"a": [["broken"]], **{f"g{number}": [["drop"]] for number in range(9)}}
    assert splits_of_groups(split(a_set(groups), FRACTIONS, 0))["a"] == {"train"}


def test_another_seed_gives_another_sharing_out():
    label_set = a_set({f"g{number}": [["drop"]] for number in range(30)})
    assert len({tuple(i.split for i in split(label_set, FRACTIONS, seed).images) for seed in range(5)}) > 1


def test_too_few_groups_or_none_are_refused():
    with pytest.raises(DatasetError, match="2 groups cannot"):
        split(a_set({"a": [[]], "b": [[]]}), FRACTIONS, 0)
    without = LabelSet(Path(), CLASSES, (AnnotatedImage("a.png", (5, 5)),))
    with pytest.raises(DatasetError, match=r"a\.png has no group"):
        split(without, FRACTIONS, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train=0.8", "sum to 0.8"),
        ("train=0.8,dev=0.2", "'dev=0.2'"),
        ("train=x,val=1", "'train=x'"),
        ("train=1.5,val=-0.5", "'train=1.5'"),
        ("train=nan,val=1", "'train=nan'"),
        ("", "''"),
    ],
)
def test_bad_shares(text, said):
    with pytest.raises(ConfigError, match="--split") as caught:
        shares_from_text(text)
    assert said in str(caught.value)


def test_groups_by_name():
    group_of = by_name("^(?P<group>[0-9]+)_")
    assert group_of("images/0012_003.png") == "0012"
    assert group_of("x.png") is None


@pytest.mark.parametrize(
    ("expression", "said"), [("[0-9", "no regular expression"), ("([0-9]+)", "no part named group")]
)
def test_bad_expressions(expression, said):
    with pytest.raises(ConfigError, match=said):
        by_name(expression)


def test_groups_by_table(tmp_path):
    table = tmp_path / "rolls.csv"
    table.write_bytes("file_name,布卷\n0 (1).jpg,七\nsub/b.png,八\nc.png,\n".encode("gbk"))
    group_of = by_table(table, "布卷")
    assert [group_of(name) for name in ("sub/0 (1).jpg", "sub/b.png", "c.png", "d.png")] == [
        "七", "八", None, None,
    ]  # fmt: skip
    with pytest.raises(DatasetError, match="no column group"):
        by_table(table)


def test_an_image_without_a_group_is_refused():
    with pytest.raises(DatasetError, match=r"No group is known of 1 of 2 images, first x_0\.png"):
        grouped(a_set({"1": [[]], "x": [[]]}), by_name("^(?P<group>[0-9]+)_"))


def test_images_that_are_split_stay_where_they_are():
    label_set = a_set({f"g{number}": [["drop"]] for number in range(30)})
    shared = split_by_options(label_set, SharingOptions(seed=1), again=False)
    assert split_by_options(shared, SharingOptions(seed=2), again=False) == shared
    assert split_by_options(shared, SharingOptions(seed=2), again=True) != shared

import pytest

from edge.cameras.loom import parse_loom_options
from edge.core.errors import ConfigError
from edge.core.taxonomy import load_taxonomy
from edge.dataset.options import DatasetOptions, parse_split, validated_dataset_options
from edge.simulator.options import CATEGORIES, LoomOptions


def test_a_bare_loom_has_the_defaults():
    assert parse_loom_options("loom") == LoomOptions()


def test_settings_are_read_by_name_and_lists_by_plus():
    options = parse_loom_options(
        "loom:seed=7, width_px=4096,live=true,length_m=none,difficulties=clear+barely_visible"
    )
    assert (options.seed, options.width_px, options.live, options.length_m) == (7, 4096, True, None)
    assert options.difficulties == ("clear", "barely visible")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("loom:sped=1", ["'sped'", "speed_m_min"], id="unknown key"),
        pytest.param("loom:seed=-1", ["seed", "whole number from 0"], id="out of range"),
        pytest.param("loom:width_px=wide", ["width_px", "128 to 16384"], id="not a number"),
        pytest.param("loom:weave=knit", ["weave", "plain, twill or satin"], id="unknown weave"),
        pytest.param("loom:look=painted", ["look", "drawn or woven"], id="unknown look"),
        pytest.param(
            "loom:look=woven,pattern=dots", ["pattern", "stripes or checks"], id="unknown pattern"
        ),
        pytest.param("loom:pattern=stripes", ["pattern", "look woven"], id="stripes of the drawn look"),
        pytest.param("loom:categories=nep+moth", ["categories", "moth", "broken end"], id="category"),
        pytest.param("loom:difficulties=easy", ["difficulties", "obvious+clear"], id="difficulty"),
        pytest.param("loom:seed", ["seed", "key=value"], id="no value"),
        pytest.param("loom:seed=1,seed=2", ["seed", "twice"], id="twice"),
        pytest.param("loom:width_px=200,bed_left_mm=40", ["cloth"], id="no cloth in view"),
        pytest.param("webcam:0", ["webcam:0", "loom"], id="not a loom"),
    ],
)
def test_what_is_not_permitted_is_named_with_its_cure(text, said):
    with pytest.raises(ConfigError) as caught:
        parse_loom_options(text)
    assert all(word in str(caught.value) for word in [*said, text.split(",")[0]])


def test_line_rate_follows_from_speed_and_scale():
    assert LoomOptions(speed_m_min=60.0, mm_per_px=0.1).lines_hz == pytest.approx(10_000)


def test_only_an_area_camera_smears():
    fast = {"speed_m_min": 60.0, "exposure_ms": 1.0}
    assert LoomOptions(**fast).smear_px == 1
    assert LoomOptions(scan="area", **fast).smear_px == 5


def test_every_category_of_the_loom_is_in_the_shipped_taxonomy():
    taxonomy = load_taxonomy()
    assert {taxonomy.class_of(category) for category in CATEGORIES} <= set(taxonomy.classes)


@pytest.mark.parametrize("text", ["train", "train=a", "train=0.5,train=0.5", ""])
def test_an_unreadable_split_is_refused(text):
    with pytest.raises(ConfigError, match=r"train=0\.8"):
        parse_split(text)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"split": {"train": 0.5}}, "split"),
        ({"split": {"train": 0.5, "exam": 0.5}}, "split"),
        ({"size_hw": (64, 64)}, "size_hw"),
        ({"images": 0}, "images"),
        ({"panes": 5}, "panes"),
    ],
)
def test_a_data_set_that_cannot_be_is_refused(values, key):
    with pytest.raises(ConfigError, match=key):
        validated_dataset_options(values, "--set")


def test_splits_are_ranges_of_the_asked_sizes():
    options = DatasetOptions(images=20, split={"train": 0.7, "val": 0.2, "test": 0.1})
    names = [options.split_of(index) for index in range(20)]
    assert [names.count(name) for name in ("train", "val", "test")] == [14, 4, 2]
    assert names == sorted(names, key=("train", "val", "test").index)

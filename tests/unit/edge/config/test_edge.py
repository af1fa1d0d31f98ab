from __future__ import annotations

from pathlib import Path

import pytest

from edge.config.device import load_camera
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError


def test_flag_over_environment_over_file_over_default(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text('camera = "file"\nqueue_frames = 9\nthreads = 3\n')
    environment = {
        "LOOMSIGHT_EDGE_CAMERA": "environment",
        "LOOMSIGHT_EDGE_QUEUE_FRAMES": "8",
        "HOME": "/root",
    }
    config = load_camera(file, environment, {"camera": "flag", "frames": None}).config
    assert (config.camera, config.queue_frames, config.threads) == ("flag", 8, 3)
    assert config.frames is EdgeConfig().frames


def test_tables_in_the_environment():
    config = load_camera(None, {"LOOMSIGHT_EDGE_SCORE_THRESHOLDS": '{"drop": 0.7}'}, {}).config
    assert config.score_thresholds == {"drop": 0.7}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("camra = '0'", "there is no setting 'camra'"),
        ("queue_frames = 0", "queue_frames = 0"),
        ("queue_frames = 'many'", "queue_frames = 'many'"),
        ("score_thresholds = {drop = 2}", r"score_thresholds\.drop"),
        ("camera = ", "not valid TOML"),
    ],
    ids=["unknown", "range", "type", "nested", "toml"],
)
def test_a_wrong_setting_is_named_with_its_source(tmp_path, text, named):
    file = tmp_path / "edge.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=named) as caught:
        load_camera(file, {}, {})
    assert "edge.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_environment_and_flag():
    with pytest.raises(ConfigError, match="the environment: there is no setting 'camra'"):
        load_camera(None, {"LOOMSIGHT_EDGE_CAMRA": "0"}, {})
    with pytest.raises(ConfigError, match="the command line: frames = -1"):
        load_camera(None, {}, {"frames": -1})
    with pytest.raises(ConfigError, match="There is no file"):
        load_camera(Path("/no/edge.toml"), {}, {})


ARTICLES = """
article = "plain"
score_thresholds = {drop = 0.5}
cloth_width_mm = 1500
stop = {most_per_hour = 3, apart_m = 5}

[articles.plain]

[articles."twill 220"]
model = "twill"
score_thresholds = {drop = 0.2}
stop = {mode = "on"}
"""


def test_an_article_has_settings_of_its_own(tmp_path, caplog):
    file = tmp_path / "edge.toml"
    file.write_text(ARTICLES)
    plain = load_camera(file, {}, {}).config
    assert (plain.model, plain.score_thresholds, plain.stop.mode) == (None, {"drop": 0.5}, "shadow")
    twill = load_camera(file, {}, {"article": "twill 220"}).config
    assert (twill.model, twill.score_thresholds) == (Path("twill"), {"drop": 0.2})
    assert (twill.stop.mode, twill.stop.most_per_hour) == ("on", 6)
    assert twill.cloth_width_mm == 1500
    flagged = load_camera(file, {"LOOMSIGHT_EDGE_ARTICLE": "twill 220"}, {"model": "mine"}).config
    assert (flagged.model, flagged.score_thresholds) == (Path("mine"), {"drop": 0.2})
    assert not caplog.text
    assert load_camera(file, {}, {"article": "satin"}).config.score_thresholds == {"drop": 0.5}
    assert "article 'satin' has no settings of its own" in caplog.text


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("[articles.a]\ncamera = '0'", "there is no setting 'articles.a.camera'"),
        ("[articles.a]\nscore_thresholds = {drop = 2}", r"articles\.a\.score_thresholds\.drop"),
        ("[articles.a]\nstop = {mode = 'never'}", r"articles\.a\.stop\.mode"),
        ("articles = 3", "articles = 3"),
        ("[articles]\na = 3", r"articles\.a = 3"),
    ],
)
@pytest.mark.parametrize("article", ["a", "b", None])
def test_a_wrong_setting_of_an_article_is_named_whether_it_is_woven_or_not(tmp_path, table, named, article):
    file = tmp_path / "edge.toml"
    file.write_text(table)
    with pytest.raises(ConfigError, match=named):
        load_camera(file, {}, {"article": article})


def test_a_settings_file_of_windows_is_read_or_named(tmp_path):
    (tmp_path / "bom.toml").write_bytes(b'\xef\xbb\xbfcamera = "a.png"\r\n')
    assert load_camera(tmp_path / "bom.toml", {}, {}).config.camera == "a.png"
    (tmp_path / "wide.toml").write_bytes('camera = "a.png"\n'.encode("utf-16"))
    with pytest.raises(
        ConfigError, match=r"wide\.toml is text in UTF-16, and not in UTF-8\. Save it as UTF-8"
    ):
        load_camera(tmp_path / "wide.toml", {}, {})

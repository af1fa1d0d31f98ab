from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import EdgeConfig, load_config
from edge.errors import ConfigError


def test_flag_over_environment_over_file_over_default(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text('camera = "file"\nqueue_frames = 9\nthreads = 3\n')
    environment = {
        "LOOMSIGHT_EDGE_CAMERA": "environment",
        "LOOMSIGHT_EDGE_QUEUE_FRAMES": "8",
        "HOME": "/root",
    }
    config = load_config(file, environment, {"camera": "flag", "frames": None})
    assert (config.camera, config.queue_frames, config.threads) == ("flag", 8, 3)
    assert config.frames is EdgeConfig().frames


def test_tables_in_the_environment():
    config = load_config(None, {"LOOMSIGHT_EDGE_SCORE_THRESHOLDS": '{"drop": 0.7}'}, {})
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
        load_config(file, {}, {})
    assert "edge.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_environment_and_flag():
    with pytest.raises(ConfigError, match="the environment: there is no setting 'camra'"):
        load_config(None, {"LOOMSIGHT_EDGE_CAMRA": "0"}, {})
    with pytest.raises(ConfigError, match="the command line: frames = -1"):
        load_config(None, {}, {"frames": -1})
    with pytest.raises(ConfigError, match="Cannot read"):
        load_config(Path("/no/edge.toml"), {}, {})

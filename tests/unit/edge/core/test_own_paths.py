"""`~` in settings means the home folder wherever it stands; other impossible names are refused."""

from __future__ import annotations

import pytest

from edge.config.device import load_box, load_camera
from edge.core.errors import ConfigError

PATHS = ("model", "detections", "summary", "save_pictures", "record", "roll_record", "page_token_file")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("source", ["file", "environment", "flag"])
@pytest.mark.parametrize("key", [*PATHS, "camera"])
def test_home_is_meant_in_the_file_the_environment_and_flags(home, source, key):
    file = None
    if source == "file":
        file = home / "box.toml"
        file.write_text(f'{key} = "~/x/y"\n')
    environment = {f"LOOMSIGHT_EDGE_{key.upper()}": "~/x/y"} if source == "environment" else {}
    config = load_camera(file, environment, {key: "~/x/y"} if source == "flag" else {}).config
    assert str(getattr(config, key)) == str(home / "x/y")


def test_home_is_meant_in_tables_too(home):
    file = home / "box.toml"
    file.write_text(
        'article = "plain"\n[articles.plain]\nmodel = "~/plain"\n'
        '[mqtt]\npassword_file = "~/pw"\nca_file = "~/ca"\n'
    )
    config = load_camera(file, {}, {}).config
    assert (config.model, config.mqtt.password_file, config.mqtt.ca_file) == (
        home / "plain",
        home / "pw",
        home / "ca",
    )


def test_each_camera_gets_its_own_below_the_home_folder(home):
    file = home / "box.toml"
    file.write_text('roll_record = "~/r.db"\n[cameras.left]\ncamera = "~/left"\n[cameras.right]\n')
    left, right = load_box(file, {}, {})
    assert (left.config.camera, left.config.roll_record) == (str(home / "left"), home / "r-left.db")
    assert right.config.roll_record == home / "r-right.db"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("~nobody-of-this-name/x", "~nobody-of-this-name is nobody's home folder here"),
        ("a\0b", "zero byte"),
        ("é" * 200, "at most 255 bytes"),
        ("a/" * 2000, "at most 255 folders"),
    ],
    ids=["nobody", "zero-byte", "long", "deep"],
)
def test_a_name_that_no_file_can_have_is_refused(path, said):
    with pytest.raises(ConfigError, match=f"summary = .* is not permitted.*{said}"):
        load_camera(None, {}, {"summary": path})

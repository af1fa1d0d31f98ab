"""Files with a secret: who may read them, and who may have written them."""

from __future__ import annotations

import os

import pytest

from edge.config.mqtt import MqttSettings, password_of
from edge.core.errors import ConfigError
from edge.core.outside_files import check_private
from edge.page.server import page_token

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"s" * 20)
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_taken(mode, secret):
    secret.chmod(mode)
    check_private(secret, "x")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_may_open_is_refused_with_the_cure(mode, secret):
    secret.chmod(mode)
    with pytest.raises(ConfigError, match=f"Others may read mqtt.password_file.*chmod 600 {secret}"):
        password_of(MqttSettings(user="u", password_file=secret), {})


@as_root
def test_the_file_of_another_user_is_refused(secret):
    os.chown(secret, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        page_token(secret)


def test_a_folder_or_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no regular file"):
        check_private(tmp_path, "x")
    with pytest.raises(ConfigError, match="Cannot read"):
        check_private(tmp_path / "none", "x")


@pytest.mark.parametrize(
    "data",
    [b"s3cret", b"s3cret\r\n", b"\xef\xbb\xbfs3cret\r\n", b"s3cret\nmore"],
    ids=["bare", "crlf", "bom", "two"],
)
def test_a_password_of_notepad_is_sent_as_it_was_typed(data, secret):
    secret.write_bytes(data)
    assert password_of(MqttSettings(user="u", password_file=secret), {}) == "s3cret"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("s3cret".encode("utf-16"), "is text in UTF-16"),
        ("s3cret".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("schlüssel".encode("latin-1"), "Windows-1252"),
        (b"s3\x1bcret", "control character"),
    ],
    ids=["utf-16", "utf-16 bare", "latin-1", "escape"],
)
def test_a_password_that_is_no_utf_8_is_refused_and_not_shown(data, said, secret):
    secret.write_bytes(data)
    with pytest.raises(ConfigError, match=said) as refused:
        password_of(MqttSettings(user="u", password_file=secret), {})
    assert "cret" not in str(refused.value).replace(str(secret), "")

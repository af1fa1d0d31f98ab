"""Files that others wrote: only regular ones, only so many bytes, and text in UTF-8 or a word of advice."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge.core.errors import ConfigError, DatasetError
from edge.core.outside_documents import read_json, read_toml
from edge.core.outside_files import files_below, read_bytes, read_text


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def test_a_pipe_is_refused_without_waiting_for_a_writer(fifo):
    with pytest.raises(ConfigError, match=r"fifo is a pipe, and not a regular file"):
        read_text(fifo)


def test_a_device_that_never_ends_is_refused():
    with pytest.raises(ConfigError, match="/dev/zero is a device"):
        read_bytes(Path("/dev/zero"), 10)


def test_a_socket_and_a_folder_are_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(ConfigError, match="s is a socket"):
            read_text(tmp_path / "s")
    with pytest.raises(ConfigError, match="is a folder"):
        read_text(tmp_path)


def test_what_is_not_there_is_said_with_the_error_and_the_cure_of_the_caller(tmp_path):
    with pytest.raises(DatasetError, match=r"There is no file .*none\. Make it\."):
        read_text(tmp_path / "none", error=DatasetError, cure="Make it.")
    with pytest.raises(ConfigError, match="Cannot read"):
        read_text(tmp_path / "a\0b")
    with pytest.raises(ConfigError, match="File name too long"):
        read_text(tmp_path / ("a" * 300))


def test_a_link_leads_to_its_file(tmp_path):
    (tmp_path / "a").write_text("text")
    (tmp_path / "link").symlink_to("a")
    assert read_text(tmp_path / "link") == "text"


def test_a_file_is_read_up_to_the_limit_and_refused_beyond_it(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(bytes(1 << 20))
    assert len(read_bytes(file, 1 << 20)) == 1 << 20
    with pytest.raises(ConfigError, match=r"longer than 0\.5 MiB"):
        read_bytes(file, 1 << 19)


def test_a_file_without_a_size_is_limited_all_the_same():
    """Files of the kernel have the size 0, whatever they hold."""
    assert read_text(Path("/proc/self/stat"))
    with pytest.raises(ConfigError, match="longer than"):
        read_bytes(Path("/proc/self/stat"), 10)


def test_a_file_that_the_kernel_gives_only_at_once_is_read_whole():
    """A setting of the kernel has the size 0, and nothing follows the first read of it."""
    assert read_text(Path("/proc/sys/kernel/ostype")) == "Linux\n"


def test_a_file_far_longer_than_its_stated_size_is_read_to_its_end():
    value = "x" * 100_000
    command = [sys.executable, "-c", "print('runs', flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, env={"VALUE": value}) as process:
        assert (
            process.stdout.readline() == b"runs\n"
        )  # before, the kernel may still give an empty environment
        environment = read_bytes(Path(f"/proc/{process.pid}/environ"), 1 << 20)
        process.communicate(b"\n")
    assert environment == f"VALUE={value}\0".encode()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("Köper".encode("utf-16"), "is text in UTF-16"),
        ("Köper\n".encode("utf-16-be"), "is text in UTF-16 without a byte order mark"),
        ("Köper".encode("utf-32"), "is text in UTF-32"),
        ("a = 1\nb = 'Köper für Röcke'".encode("latin-1"), "line 2 holds the byte 0xF6; .* Windows-1252"),
        ("a = 1\n\n# 断纬 坏布".encode("gbk"), "line 3 holds the byte 0xB6; .* GBK"),
        (b"\x7fELF\0\0\1\0\0", "holds zero bytes: it is not text"),
    ],
    ids=["utf-16", "utf-16 unmarked", "utf-32", "latin-1", "gbk", "binary"],
)
def test_text_in_another_encoding_is_named(tmp_path, data, named):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ConfigError, match=named):
        read_text(tmp_path / "a")


def test_a_byte_order_mark_and_the_line_ends_of_windows_are_taken_away(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(tmp_path / "a") == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    "text", ["a = ", "a = " + "[" * 100_000, "a = " + "9" * 5000], ids=["cut", "nested", "long number"]
)
def test_wrong_toml_is_one_line(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.toml is") as caught:
        read_toml(tmp_path / "a.toml")
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, "9" * 5000, '{"a": 1} 2'], ids=["cut", "nested", "long number", "more"]
)
def test_wrong_json_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError, match=r"a\.json is"):
        read_json(tmp_path / "a.json", error=DatasetError)


def test_the_whole_file_system_is_no_folder_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root in ("/", "//", os.path.relpath("/")):
        with pytest.raises(ConfigError, match=r"is the whole file system\. Name the folder"):
            files_below(Path(root))
    assert list(files_below(tmp_path)) == []

"""Installations: two devices differ though one's card is a copy of the other's."""

from __future__ import annotations

import pytest

from edge.process.installation import installation_id


@pytest.fixture
def root(tmp_path):
    """A file system with a system's id, a serial number, a real network card and a virtual one."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef\n")
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/serial-number").write_bytes(b"1000\0")
    for name, address in (("eth0", "aa:bb:cc:dd:ee:01"), ("docker0", "02:42:00:00:00:01")):
        card = tmp_path / "sys/class/net" / name
        card.mkdir(parents=True)
        (card / "address").write_text(f"{address}\n")
    (tmp_path / "sys/class/net/eth0/device").mkdir()
    return tmp_path


def test_it_stays_as_long_as_system_and_hardware_do(root):
    first = installation_id(root)
    assert first == installation_id(root)
    assert len(first) == 16
    (root / "sys/class/net/docker0/address").write_text("02:42:00:00:00:99\n")
    assert installation_id(root) == first


@pytest.mark.parametrize(
    "file", ["etc/machine-id", "proc/device-tree/serial-number", "sys/class/net/eth0/address"]
)
def test_each_part_tells_apart(file, root):
    first = installation_id(root)
    (root / file).write_text("another")
    assert installation_id(root) != first
    (root / file).unlink()
    assert installation_id(root) not in (None, first)


def test_where_nothing_tells_there_is_none(tmp_path):
    assert installation_id(tmp_path) is None


def test_nothing_of_it_can_be_read_back(root):
    assert "aabbcc" not in installation_id(root)

"""Whatever is done to the bytes of an audit log, it is found."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audit.files import archives
from edge.audit.verify import verify_log
from tests.unit.edge.audit.logs import lines_in, written


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A log of three files, with the head that was kept elsewhere."""
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    log = written(path, 12, most_bytes=1500)
    assert len(archives(path)) >= 2
    return path, log.head


def copied(original, folder):
    for file in (*archives(original), original):
        shutil.copy(file, folder / file.name)
    return folder / original.name


def is_found(original, change):
    path, head = original
    with tempfile.TemporaryDirectory() as name:
        copy = copied(path, Path(name))
        files = [*archives(copy), copy]
        before = [file.read_bytes() for file in files]
        change(files)
        after = [file.read_bytes() if file.exists() else None for file in files]
        found = verify_log(copy, {"the record": [head]}) if any(f.exists() for f in files) else None
        return before == after or found is None or bool(found.problems)


@given(st.integers(0, 100), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_byte_that_is_changed(original, file, place, flip):
    def change(files):
        chosen = files[file % len(files)]
        data = bytearray(chosen.read_bytes())
        data[place % len(data)] ^= flip
        chosen.write_bytes(bytes(data))

    assert is_found(original, change)


@given(st.integers(0, 100), st.integers(0, 10_000), st.integers(1, 3000))
@settings(max_examples=60, deadline=None)
def test_any_bytes_that_are_deleted(original, file, place, count):
    def change(files):
        chosen = files[file % len(files)]
        data = chosen.read_bytes()
        start = place % len(data)
        chosen.write_bytes(data[:start] + data[start + count :])

    assert is_found(original, change)


@given(st.integers(0, 100), st.integers(0, 10_000), st.binary(min_size=1, max_size=50))
@settings(max_examples=60, deadline=None)
def test_any_bytes_that_are_inserted(original, file, place, more):
    def change(files):
        chosen = files[file % len(files)]
        data = chosen.read_bytes()
        start = place % (len(data) + 1)
        chosen.write_bytes(data[:start] + more + data[start:])

    assert is_found(original, change)


@given(st.permutations(range(4)), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_any_lines_in_another_order(original, order, file):
    def change(files):
        chosen = files[file % len(files)]
        lines = lines_in(chosen)
        first = lines[: len(order)]
        chosen.write_bytes(b"".join([*(first[n] for n in order if n < len(first)), *lines[len(order) :]]))

    assert is_found(original, change)


@given(st.sets(st.integers(0, 2), min_size=1))
@settings(max_examples=8, deadline=None)
def test_any_files_that_are_removed(original, removed):
    def change(files):
        for number in removed:
            files[number % len(files)].unlink(missing_ok=True)

    assert is_found(original, change)

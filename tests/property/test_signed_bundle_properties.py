"""Whatever byte of a signed bundle is changed, added or removed, the bundle is refused."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle.manifest import SIGNATURE_NAME
from edge.bundle.opening import open_bundle
from edge.bundle.signing import check_trusted, make_key, sign_bundle
from edge.core.errors import LoomsightError
from tests.conftest import write_bright_cell_bundle


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    bundle, key = write_bright_cell_bundle(folder / "bundle"), folder / "key"
    public = make_key(key)
    sign_bundle(bundle, key)
    assert check_trusted(open_bundle(bundle), [public.text]) == public
    return bundle, public


def is_refused(bundle, public):
    try:
        check_trusted(open_bundle(bundle), [public.text])
    except LoomsightError as error:
        return "\n" not in str(error)
    return False


def first_line(file):
    """Return the bytes of a signature's first line: nothing is signed there, so nothing is said of it."""
    return len(file.read_bytes().split(b"\n")[0]) + 1 if file.name == SIGNATURE_NAME else 0


@given(st.integers(0, 100), st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_any_byte_that_is_changed(signed, file, place, flip):
    bundle, public = signed
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "bundle"
        shutil.copytree(bundle, copy)
        chosen = sorted(copy.iterdir())[file % len(list(copy.iterdir()))]
        data = bytearray(chosen.read_bytes())
        place = max(place % len(data), first_line(chosen))
        data[place] ^= flip
        chosen.write_bytes(bytes(data))
        assert is_refused(copy, public)


@given(st.integers(0, 100), st.integers(0, 10**6), st.binary(min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_bytes_that_are_inserted(signed, file, place, more):
    bundle, public = signed
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "bundle"
        shutil.copytree(bundle, copy)
        chosen = sorted(copy.iterdir())[file % len(list(copy.iterdir()))]
        data = chosen.read_bytes()
        place = max(place % (len(data) + 1), first_line(chosen))
        chosen.write_bytes(data[:place] + more + data[place:])
        assert is_refused(copy, public)


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", SIGNATURE_NAME])
def test_any_file_that_is_removed(signed, tmp_path, name):
    bundle, public = signed
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / name).unlink()
    assert is_refused(tmp_path / "bundle", public)

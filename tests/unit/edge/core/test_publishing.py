"""New folders and files that take their name when they are whole."""

from __future__ import annotations

import os

import pytest

from edge.core.errors import OutputError
from edge.core.publishing import new_folder, write_new_texts


def test_what_a_killed_run_with_the_same_process_number_left_is_in_nobodys_way(tmp_path):
    """In a container each process may have the number of the one before."""
    left = tmp_path / f".set.partial-{os.getpid()}"
    left.mkdir()
    (left / "half").write_text("x")
    (tmp_path / f".a.txt.partial-{os.getpid()}").mkdir()
    with new_folder(tmp_path / "set") as folder:
        (folder / "whole").write_text("y")
    write_new_texts({tmp_path / "a.txt": "z"})
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["whole"]
    assert (tmp_path / "a.txt").read_text() == "z"


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="No space"), new_folder(tmp_path / "set"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())

"""Two folders change their names in one step."""

from __future__ import annotations

import pytest

from edge.bundle.publish import exchanged


def test_two_folders_change_their_names(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "what").write_text(name)
    if not exchanged(tmp_path / "new", tmp_path / "old"):
        pytest.skip("this file system cannot exchange two names")
    assert (tmp_path / "old" / "what").read_text() == "new"
    assert (tmp_path / "new" / "what").read_text() == "old"


def test_a_name_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(FileNotFoundError):
        exchanged(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "new").is_dir()

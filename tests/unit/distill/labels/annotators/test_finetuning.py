"""A model folder is replaced by a whole one, or stays."""

from __future__ import annotations

import errno

import pytest
from safetensors import SafetensorError

from distill.labels.annotators.finetuning import replacing
from edge.core.errors import OutputError


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with replacing(tmp_path / "model") as partial:
        (partial / "new").touch()
    assert [file.name for file in tmp_path.rglob("*")] == ["model", "new"]


def fail_halfway(folder, error):
    with replacing(folder) as partial:
        (partial / "half").touch()
        raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left")]
)
def test_a_full_disk_is_one_line_and_the_folder_before_stays(tmp_path, error):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with pytest.raises(OutputError, match=r"Cannot write .*model: .*No space left"):
        fail_halfway(tmp_path / "model", error)
    assert [file.name for file in tmp_path.rglob("*")] == ["model", "old"]

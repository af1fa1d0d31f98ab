"""Two runs in one place: the second is refused before it touches anything."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack

import pytest

from edge.app.assembly import lock_outputs
from edge.app.run import run
from edge.config.edge import EdgeConfig
from edge.core.errors import OutputError
from edge.core.files import rename_aside, write_whole
from edge.sinks.locks import file_locked, folder_locked

LOOM = "loom:seed=2,length_m=0.1,width_px=256,defects_per_m=20"


@pytest.mark.parametrize(
    "outputs",
    [
        {"detections": "d.jsonl"},
        {"summary": "s.json"},
        {"save_pictures": "found"},
        {"save_pictures": "found", "roll_record": "r.db"},
    ],
    ids=["detections", "summary", "images", "images-beside-a-record"],
)
def test_a_second_run_in_the_same_place_is_refused_and_changes_nothing(tmp_path, outputs):
    places = {name: tmp_path / place for name, place in outputs.items()}
    config = EdgeConfig(camera=LOOM, threads=1, **places)
    with ExitStack() as first:
        lock_outputs(config, first)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(OutputError, match="Another program is writing"):
            run(config)
        assert sorted(tmp_path.rglob("*")) == before
    run(config)
    assert not list(tmp_path.glob(".*.lock"))


def test_a_lock_of_a_program_that_was_killed_holds_nobody_up(tmp_path):
    (tmp_path / ".d.jsonl.lock").write_bytes(b"")
    for _ in range(2):
        with file_locked(tmp_path / "d.jsonl"):
            assert (tmp_path / ".d.jsonl.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_two_lock_no_more_than_one_place(tmp_path):
    with file_locked(tmp_path / "a"), file_locked(tmp_path / "b"), folder_locked(tmp_path / "c"):
        with pytest.raises(OutputError), folder_locked(tmp_path / "c"):
            pass
        with file_locked(tmp_path / "c"):
            pass


def test_what_two_runs_set_aside_at_once_is_all_kept(tmp_path, monkeypatch):
    """The name that was free a moment ago is taken now: the file there stays."""
    path = tmp_path / "s.json"
    path.write_text("second")
    (tmp_path / "s.json.1").write_text("first")
    seen, exists = [], os.path.lexists
    monkeypatch.setattr(
        os.path, "lexists", lambda name: bool(seen.append(name)) or (len(seen) > 1 and exists(name))
    )
    rename_aside(path)
    assert (tmp_path / "s.json.1").read_text() == "first"
    assert (tmp_path / "s.json.2").read_text() == "second"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_rights_that_the_umask_gives(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "s.json", json.dumps({}).encode())
    finally:
        os.umask(before)
    assert (tmp_path / "s.json").stat().st_mode & 0o777 == mode

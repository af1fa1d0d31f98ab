from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from distill.labels.engine.catalogue import catalogue_of, catalogue_of_folder
from distill.labels.engine.shards import ShardFolder, lines, run_here
from edge.core.errors import DatasetError, OutputError


@dataclass
class Counting:
    """Work that counts how often it is opened, and stops or fails at a shard."""

    opened: int = 0
    fails_at: int = -1
    stops_at: int = -1
    stop: threading.Event | None = None

    def open(self):
        self.opened += 1

        def make(index):
            if index == self.fails_at:
                raise OutputError("no", "yes")
            if index == self.stops_at:
                self.stop.set()
            return lines([{"shard": index}])

        return make


def run(work, folder, stop=None):
    folder.sweep()
    done = []
    run_here(work, folder, stop or threading.Event(), lambda: done.append(1))
    return len(done)


def test_only_what_is_missing_is_made(tmp_path):
    folder = ShardFolder(tmp_path / "s", 5)
    assert run(Counting(), folder) == 5
    folder.file(3).unlink()
    assert folder.pending() == [3]
    work = Counting()
    assert run(work, folder) == 1
    assert [record["shard"] for record in folder.all_records()] == [0, 1, 2, 3, 4]


def test_nothing_is_opened_when_all_is_there(tmp_path):
    folder = ShardFolder(tmp_path, 2)
    run(Counting(), folder)
    work = Counting()
    run(work, folder)
    assert work.opened == 0


def test_a_failing_shard_leaves_those_before_it(tmp_path):
    folder = ShardFolder(tmp_path, 4)
    with pytest.raises(OutputError):
        run(Counting(fails_at=2), folder)
    assert folder.pending() == [2, 3]


def test_a_stop_ends_after_the_shard_in_hand(tmp_path):
    folder, stop = ShardFolder(tmp_path, 4), threading.Event()
    run(Counting(stops_at=1, stop=stop), folder, stop)
    assert folder.pending() == [2, 3]


def test_half_written_files_are_swept(tmp_path):
    folder = ShardFolder(tmp_path, 1)
    (tmp_path / ".000000.jsonl-abc").write_text("{")
    run(Counting(), folder)
    assert [file.name for file in tmp_path.iterdir()] == ["000000.jsonl"]


@pytest.mark.parametrize("content", [None, "{"], ids=["missing", "damaged"])
def test_a_shard_that_cannot_be_read_is_named(tmp_path, content):
    folder = ShardFolder(tmp_path, 1)
    if content:
        folder.file(0).write_text(content)
    with pytest.raises(OutputError, match=r"000000\.jsonl"):
        folder.records(0)


@pytest.mark.parametrize(("images", "expected"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_every_image_is_in_one_shard(tmp_path, images, expected):
    catalogue = catalogue_of(tmp_path, [f"{n}.png" for n in range(images)], 4)
    assert catalogue.shards == expected
    names = [name for shard in range(catalogue.shards) for name in catalogue.names_of(shard)]
    assert tuple(names) == catalogue.names


def test_a_job_is_not_resumed_with_other_images(tmp_path):
    file = tmp_path / "catalogue.jsonl"
    catalogue_of(tmp_path, ["a.png"], 4).keep(file)
    catalogue_of(tmp_path, ["a.png"], 4).keep(file)
    with pytest.raises(DatasetError, match="no longer holds"):
        catalogue_of(tmp_path, ["a.png", "b.png"], 4).keep(file)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no images"):
        catalogue_of_folder(tmp_path, 4)

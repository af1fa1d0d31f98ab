"""What is on the disk after a crash, a full disk, and with two processes on one folder."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import pytest

from distill.labels.review.decisions import ReviewDecision
from distill.labels.review.log import ReviewLog
from distill.labels.sets.annotations import Region
from edge.core.errors import DatasetError, OutputError

REGION = Region("drop", (1.0, 2.0, 3.0, 4.0), score=0.5, annotator="florence", review="queued")


def decision(number):
    return ReviewDecision(number, "images/train/布.png", "accept", 0, REGION, REGION)


@contextmanager
def files_may_hold(size_bytes):
    """Let the system refuse to write beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_decisions_come_back(tmp_path):
    with ReviewLog(tmp_path) as log:
        log.append(decision(1))
        log.mark_written()
        log.append(decision(2))
    with ReviewLog(tmp_path) as again:
        assert again.decisions == [decision(1), decision(2)]
        assert again.pending == 1


@pytest.mark.parametrize("torn", [b'{"number": 2, "pic', b"\0\0\0", '{"image": "布'.encode()[:-1]])
def test_a_torn_last_line_is_skipped_with_one_warning(tmp_path, caplog, torn):
    with ReviewLog(tmp_path) as log:
        log.append(decision(1))
    with log.path.open("ab") as stream:
        stream.write(torn)
    with ReviewLog(tmp_path) as again:
        assert again.decisions == [decision(1)]
        again.append(decision(2))
    assert [record.message for record in caplog.records] == [
        f"{log.path}: the last line is torn and skipped"
    ]
    with ReviewLog(tmp_path) as third:
        assert third.decisions == [decision(1), decision(2)]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "line",
    ["{", "[1]", "7", '{"number": 2}', '{"number": 1, "image": "a", "action": "burn", "place": 0}'],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    with ReviewLog(tmp_path) as log:
        log.append(decision(1))
    with log.path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DatasetError, match=r"reviews.jsonl, line 2 is damaged"):
        ReviewLog(tmp_path)


def test_a_second_process_is_refused_and_the_lock_goes_with_the_first(tmp_path):
    with ReviewLog(tmp_path), pytest.raises(OutputError, match="under review by another process"):
        ReviewLog(tmp_path)
    with ReviewLog(tmp_path) as log:
        assert log.decisions == []


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path):
    with ReviewLog(tmp_path) as log:
        log.append(decision(1))
        before = log.path.read_bytes()
        with files_may_hold(len(before) + 50), pytest.raises(OutputError, match=r"Cannot write .*reviews"):
            log.append(decision(2))
        assert log.path.read_bytes() == before
        assert (log.decisions, log.pending) == ([decision(1)], 1)
        log.append(decision(2))
    with ReviewLog(tmp_path) as again:
        assert again.decisions == [decision(1), decision(2)]


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="Cannot write"):
        ReviewLog(tmp_path / "gone")

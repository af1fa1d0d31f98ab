"""The audit log: what is written is there, in a chain, whoever else writes and whatever ends a program."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from edge.audit.entry import LOG_CONTINUED, LOG_DAMAGED, LOG_MENDED, LOG_STARTED, Note, entry_of, head_of
from edge.audit.files import archives
from edge.audit.log import AuditLog
from edge.audit.reading import entries_of
from edge.audit.verify import verify_log
from edge.core.errors import AuditError, OutputError
from tests.unit.edge.audit.logs import lines_in, written


def kinds(path):
    return [entry.kind for entry in entries_of(path)]


def test_a_new_log_begins_with_an_entry_of_its_own(tmp_path):
    path = tmp_path / "new" / "audit.jsonl"
    head = AuditLog(path).append([Note("user anna", "verdict", {"id": "1"})])
    first, second = entries_of(path)
    assert (first.kind, first.number, first.before) == (LOG_STARTED, 1, "0" * 64)
    assert (second.who, second.kind, second.data, second.before) == (
        "user anna", "verdict", {"id": "1"}, first.digest,
    )  # fmt: skip
    assert head == second.head
    assert path.stat().st_mode & 0o007 == 0  # what people did is not for everybody


def test_two_programs_write_one_chain(tmp_path):
    path = tmp_path / "audit.jsonl"

    def write(log, who):
        for number in range(20):
            log.append([Note(who, "tick", {"number": number})])

    threads = [threading.Thread(target=write, args=(AuditLog(path), who)) for who in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verify_log(path)
    assert (found.entries, found.problems) == (41, [])


def test_a_line_that_a_kill_left_unfinished_is_cut_off_and_told(tmp_path):
    path = tmp_path / "audit.jsonl"
    written(path, 3)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:40])
    assert "is unfinished" in verify_log(path).problems[0]
    AuditLog(path).append([Note("settings", "stop")])
    assert kinds(path)[3:] == [LOG_MENDED, "stop"]
    assert next(e for e in entries_of(path) if e.kind == LOG_MENDED).data == {"bytes": 40}
    assert verify_log(path).problems == []


def test_garbage_at_the_end_stays_and_is_told(tmp_path):
    path = tmp_path / "audit.jsonl"
    written(path, 3)
    with path.open("ab") as stream:
        stream.write(b"garbage\n")
    AuditLog(path).append([Note("settings", "stop")])
    assert kinds(path)[3:] == [LOG_DAMAGED, "stop"]
    found = verify_log(path)
    assert any("line 4: what stands behind entry 3 is no entry" in problem for problem in found.problems)


def test_full_files_get_other_names_and_the_chain_goes_through_them(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = written(path, 30, most_bytes=1000)
    assert len(archives(path)) > 5
    assert archives(path)[0].name == "audit.jsonl.000000000001"
    assert LOG_CONTINUED in kinds(path)
    found = verify_log(path)
    assert (found.problems, found.head) == ([], log.head)


def test_the_oldest_files_go_and_the_chain_says_what_they_were(tmp_path):
    path = tmp_path / "audit.jsonl"
    written(path, 60, most_bytes=1000, keep_files=3)
    assert len(archives(path)) == 3
    found = verify_log(path)
    assert found.problems == []
    assert "was removed by the settings" in found.remarks[0]
    archives(path)[0].unlink()  # and this one by hand
    assert "no entry says that they were removed" in verify_log(path).problems[0]


def test_a_kill_between_the_names_of_two_files_is_no_harm(tmp_path):
    path = tmp_path / "audit.jsonl"
    written(path, 4)
    path.rename(tmp_path / "audit.jsonl.000000000001")
    AuditLog(path).append([Note("settings", "stop")])
    assert kinds(path)[-2:] == [LOG_CONTINUED, "stop"]
    assert verify_log(path).problems == []


@pytest.mark.parametrize("how", ["cut", "deleted", "replaced"])
def test_a_running_writer_finds_that_its_log_was_changed(tmp_path, how):
    path = tmp_path / "audit.jsonl"
    log = written(path, 6)
    kept = lines_in(path)[:4]
    if how == "cut":
        path.write_bytes(b"".join(kept))
    elif how == "deleted":
        path.unlink()
    else:
        path.unlink()
        written(path, 9)
    log.append([Note("settings", "stop")])
    assert LOG_DAMAGED in kinds(path)
    assert verify_log(path).problems


def test_a_head_known_from_elsewhere_shows_what_is_missing_at_the_next_start(tmp_path):
    path = tmp_path / "audit.jsonl"
    head = written(path, 6).head
    path.write_bytes(b"".join(lines_in(path)[:4]))
    AuditLog(path, known=head).append([Note("settings", "stop")])
    problems = verify_log(path).problems
    assert problems[0].startswith("Entries 5 to 6 are missing before entry 7")


def test_a_full_disk_leaves_the_log_whole(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = written(path, 5)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
        with pytest.raises(OutputError, match=r"Cannot write the audit log .*\. Check its permissions"):
            log.append([Note("settings", "stop")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    log.append([Note("settings", "stop")])
    assert verify_log(path).problems == []


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, what):
    path = tmp_path / "audit.jsonl"
    if what == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(OutputError):
        AuditLog(path).append([Note("settings", "stop")])
    with pytest.raises(AuditError):
        verify_log(path)


def test_the_canonical_form_can_be_checked_by_other_programs(tmp_path):
    path = tmp_path / "audit.jsonl"
    AuditLog(path).append([Note("user anna", "verdict", {"class": "Düse", "at": [1, None, True]})])
    line = lines_in(path)[-1]
    assert line.isascii()
    fields = json.loads(line)
    assert line == json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert entry_of(line).is_whole
    assert entry_of(line.replace(b":", b": ", 1)) is None


@pytest.mark.parametrize(
    "text", ["", "1", "1:abc", "x:" + "0" * 64, "1:" + "g" * 64, "1" * 20 + ":" + "0" * 64]
)
def test_what_is_no_head(text):
    assert head_of(text) is None


def test_kills_while_appending_lose_nothing_that_was_acknowledged(tmp_path):
    path, rng, acknowledged = tmp_path / "audit.jsonl", random.Random(5), []
    program = [sys.executable, "-m", "tests.unit.edge.audit.kill_appender", str(path), "4000"]
    for _ in range(12):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.05))
            process.kill()
            rest = process.stdout.read()
        acknowledged += [line for line in (first + rest).splitlines() if head_of(line)]
    AuditLog(path).append([Note("settings", "stop")])
    found = verify_log(path, {"the appender": [head_of(line) for line in acknowledged]})
    assert found.problems == []
    assert found.anchors == len(acknowledged) > 12

"""Every change of an audit log is found, and the entry that it is about is named."""

from __future__ import annotations

import pytest

from edge.audit.entry import Head
from edge.audit.verify import verify_log
from edge.core.errors import AuditError
from tests.unit.edge.audit.logs import lines_in, rechained, written


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "audit.jsonl"
    written(path, 8)
    return path


def problems_of(path, lines, anchors=None):
    path.write_bytes(b"".join(lines))
    return verify_log(path, anchors).problems


def test_a_log_as_it_was_written(log):
    found = verify_log(log)
    assert (found.entries, found.problems, found.remarks) == (8, [], [])


def test_a_changed_entry(log):
    lines = lines_in(log)
    lines[4] = lines[4].replace(b"confirmed", b"rejected")
    assert problems_of(log, lines) == [
        "Entry 5 was changed (audit.jsonl, line 5): its digest is not that of what it says."
    ]


def test_a_changed_entry_with_a_digest_that_is_right_again(log):
    lines = lines_in(log)
    changed = lines[4].replace(b"confirmed", b"rejected")
    lines[4] = rechained([*lines[:4], changed])[4]
    assert problems_of(log, lines) == [
        "Entry 6 does not follow entry 5 (audit.jsonl, line 6): one of them was replaced."
    ]


@pytest.mark.parametrize(
    ("first", "last", "said"), [(3, 3, "Entry 3 is missing"), (3, 6, "Entries 3 to 6 are missing")]
)
def test_deleted_entries(log, first, last, said):
    lines = lines_in(log)
    assert problems_of(log, lines[: first - 1] + lines[last:])[0].startswith(
        f"{said} before entry {last + 1}"
    )


def test_a_deleted_beginning(log):
    assert problems_of(log, lines_in(log)[2:]) == [
        "Entries 1 to 2 are missing before entry 3, and no entry says that they were removed."
    ]


def test_an_inserted_entry(log):
    lines = lines_in(log)
    assert problems_of(log, [*lines[:5], lines[2], *lines[5:]])[0].startswith(
        "Entry 3 stands behind entry 5 (audit.jsonl, line 6): inserted, or moved."
    )


def test_exchanged_entries(log):
    lines = lines_in(log)
    lines[3], lines[4] = lines[4], lines[3]
    assert problems_of(log, lines)[0].startswith("Entry 4 is missing before entry 5")


def test_an_end_that_was_cut_off_is_found_by_a_head_kept_elsewhere(log):
    head = verify_log(log).head
    lines = lines_in(log)[:5]
    assert problems_of(log, lines) == []  # the rest is a whole log
    assert problems_of(log, lines, {"the record": [head]}) == [
        "The log ends with entry 5, and the record saw entry 8: its end was cut off."
    ]


def test_a_log_that_was_written_again_is_found_by_a_head_kept_elsewhere(log):
    head = verify_log(log).head
    lines = lines_in(log)
    lines[2] = lines[2].replace(b"confirmed", b"rejected")
    forged = rechained(lines)
    assert problems_of(log, forged) == []
    assert problems_of(log, forged, {"the broker": [head]}) == [
        "Entry 8 is another one than the broker saw: the log was written again."
    ]


def test_heads_of_the_whole_history_agree(log):
    heads = [Head(number, "0" * 64) for number in (0,)]
    assert verify_log(log, {"the record": heads}).problems == []


def test_an_empty_log_and_none(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.touch()
    assert verify_log(path).problems == ["The log has no entry."]
    with pytest.raises(AuditError, match=r"There is no audit log .*\. Name the file"):
        verify_log(tmp_path / "other")
    with pytest.raises(AuditError):
        verify_log(tmp_path / "no folder" / "other")

"""What is asked of the teaching comes with the next frame; what a recording says comes with its frame."""

from __future__ import annotations

import pytest

from edge.cameras.raw_stream import RecordedTeaching
from edge.core.errors import ConfigError
from edge.teach.requests import MOST_WAITING, TeachingRequests


def test_what_a_person_asks_for_is_done_once_with_the_next_frame():
    requests = TeachingRequests()
    requests.ask("begin")
    requests.ask("cancel")
    assert [requests.due(7) for _ in range(3)] == ["begin", "cancel", None]


def test_what_a_recording_says_comes_before_the_frame_behind_it():
    requests = TeachingRequests()
    for note, frame_id in (("begin", 4), ("late", 9), ("cancel", 12)):
        requests.replay(RecordedTeaching(note, frame_id))
    assert [requests.due(frame_id) for frame_id in (3, 4, 5, 6)] == [None, None, "begin", None]
    assert [requests.was_late(frame_id) for frame_id in (9, 10, 11)] == [False, True, False]
    assert requests.due(12) is None
    assert requests.due(None) == "cancel"  # behind the last frame


def test_a_flood_of_requests_is_refused():
    requests = TeachingRequests()
    for _ in range(MOST_WAITING):
        requests.ask("begin")
    with pytest.raises(ConfigError, match="Too many requests"):
        requests.ask("begin")

"""Which message may go when a broker refuses some: by topic, in order, and after pauses."""

from __future__ import annotations

import pytest

from edge.mqtt.lanes import BLAMED_PAUSE_S, BLAMES, FIRST_PAUSE_S, Lanes
from edge.mqtt.reasons import RefusedMessage, Sent

DENIED, TOO_LARGE = 0x87, 0x95


@pytest.fixture
def lanes():
    lanes = Lanes("m/b1", ["defect", "event"], 60.0)
    lanes.connected(0.0)
    return lanes


def sent(lanes, rows, now_s=0.0, busy=()):
    """Return the numbers that may be sent of rows (number, topic), read as the sender reads them."""
    begin = lanes.begin(now_s)
    if begin is None:
        return []
    behind = [row for row in rows if row[0] > begin]
    numbers = [number for number, topic in behind if lanes.may_send(topic, number, busy, now_s)]
    lanes.looked(behind[-1][0] if behind else begin, now_s)
    return numbers


ROWS = [(1, "defect"), (2, "event"), (3, "defect"), (4, "event"), (5, "defect")]


def test_all_go_in_order_and_once(lanes):
    assert sent(lanes, ROWS) == [1, 2, 3, 4, 5]
    assert sent(lanes, ROWS) == []
    lanes.connected(0.0)
    assert sent(lanes, ROWS) == [1, 2, 3, 4, 5]


def test_a_refused_topic_waits_and_the_other_goes_on(lanes):
    sent(lanes, ROWS[:3])
    news = lanes.refused(
        [RefusedMessage(1, "defect", DENIED, "no"), RefusedMessage(3, "defect", DENIED, "no")], 0.0
    )
    assert [(one.kind, one.detail) for one in news] == [("messages refused", "m/b1/defect: no")]
    assert lanes.warnings() == ["the broker refuses m/b1/defect: no"]
    assert sent(lanes, ROWS) == [4]


def test_a_refused_topic_is_tried_with_its_oldest_message_after_pauses_that_double(lanes):
    sent(lanes, ROWS)
    lanes.accepted([Sent(2, "event"), Sent(4, "event")])
    lanes.refused([RefusedMessage(1, "defect", DENIED, "no")], 0.0)
    defects = [row for row in ROWS if row[1] == "defect"]
    assert sent(lanes, defects, FIRST_PAUSE_S - 0.1) == []
    assert sent(lanes, defects, FIRST_PAUSE_S) == [1]
    assert sent(lanes, defects, FIRST_PAUSE_S + 1) == []  # until the answer is there
    assert lanes.refused([RefusedMessage(1, "defect", DENIED, "no")], FIRST_PAUSE_S) == []  # said before
    assert sent(lanes, defects, 2.9 * FIRST_PAUSE_S) == []
    assert sent(lanes, defects, 3 * FIRST_PAUSE_S) == [1]
    news = lanes.accepted([Sent(1, "defect")])
    assert [one.kind for one in news] == ["messages accepted"]
    assert lanes.warnings() == []
    assert sent(lanes, defects[1:], 3 * FIRST_PAUSE_S) == [3, 5]


def test_an_answer_to_an_older_message_does_not_open_a_refused_topic(lanes):
    sent(lanes, ROWS)
    lanes.refused([RefusedMessage(1, "defect", DENIED, "no")], 0.0)
    assert lanes.accepted([Sent(3, "defect")]) == []
    assert lanes.warnings() == ["the broker refuses m/b1/defect: no"]


def test_one_message_that_is_too_large_is_set_aside_alone(lanes):
    sent(lanes, ROWS[:1])
    news = lanes.refused([RefusedMessage(1, "defect", TOO_LARGE, "too large")], 0.0)
    assert [one.kind for one in news] == ["message set aside"]
    assert sent(lanes, ROWS) == [2, 3, 4, 5]
    assert sent(lanes, ROWS[:1], BLAMED_PAUSE_S - 1) == []
    assert sent(lanes, ROWS[:1], BLAMED_PAUSE_S) == [1]
    lanes.accepted([Sent(1, "defect")])
    assert lanes.warnings() == []


def test_a_message_that_ends_the_connection_is_found_and_set_aside(lanes):
    rows = ROWS
    for _ in range(BLAMES + 1):
        tried = [number for number in sent(lanes, rows)]
        under_way = [Sent(number, dict(rows)[number]) for number in tried]
        lanes.ended(under_way[:1] if lanes.is_careful else under_way, False, 0.0)
        lanes.connected(0.0)
        assert lanes.is_careful
    assert sent(lanes, rows) == [2, 3, 4, 5]
    assert "m/b1/defect that are set aside: 1" in lanes.warnings()[0]
    lanes.accepted([Sent(2, "event")])
    assert not lanes.is_careful


def test_messages_on_their_way_are_not_sent_again_when_a_topic_opens(lanes):
    sent(lanes, ROWS)
    lanes.refused([RefusedMessage(1, "defect", DENIED, "no")], 0.0)
    assert sent(lanes, ROWS, FIRST_PAUSE_S, busy={2, 3, 4, 5}) == [1]
    lanes.accepted([Sent(1, "defect")])
    assert sent(lanes, ROWS, FIRST_PAUSE_S, busy={3}) == [5]


def test_when_all_topics_wait_nothing_is_read(lanes):
    sent(lanes, ROWS)
    lanes.refused(
        [RefusedMessage(1, "defect", DENIED, "no"), RefusedMessage(2, "event", DENIED, "no")], 0.0
    )
    assert lanes.begin(0.0) is None


def test_one_cause_is_no_more_than_one_event_an_hour(lanes):
    news = []
    for minute in range(120):
        now_s = 60.0 * minute
        for number in sent(lanes, ROWS[:1], now_s):
            news += lanes.refused([RefusedMessage(number, "defect", DENIED, "no")], now_s)
    assert len(news) == 2

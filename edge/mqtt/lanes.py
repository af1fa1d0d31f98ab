"""Decide what may be sent when a broker refuses messages: each topic is a lane, only the refused one waits.

A topic that is refused is tried again with its oldest message, after pauses that double. A single message
that is refused, or that ends the connection each time, is set aside and tried again later; the others of
its topic go on. Nothing here touches the network, the record or the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from edge.mqtt.reasons import OF_ONE_MESSAGE, RefusedMessage, Sent

FIRST_PAUSE_S: Final = 2.0
BLAMED_PAUSE_S: Final = 60.0
MOST_BLAMED_PAUSE_S: Final = 3600.0
"""A message that ends the connection disturbs all others: it is tried seldom."""

BLAMES: Final = 3
"""So often a message is alone under way when the connection ends, before it is taken for the cause."""

MESSAGES_OF_A_TOPIC: Final = 2
"""So many messages of one topic are taken for the cause in a row, before the topic is."""

SETTLE_S: Final = 0.5
"""A new connection is for messages that nobody refused, for so long."""

REPORTED_EVERY_S: Final = 3600.0
"""One topic and reason make an event no more often: that event is a message, too."""

ENDS: Final = "the connection ends, or nothing is acknowledged, when it is sent"

NewsKind = Literal["messages refused", "messages accepted", "message set aside"]


class News(NamedTuple):
    """Report a change that a person should know of; `kind` is that of an event."""

    kind: NewsKind
    detail: str


@dataclass(slots=True)
class _Hold:
    """Why something waits, and until when; `trial` is the message that is under way to find out."""

    why: str
    pause_s: float
    until_s: float
    trial: int | None = None
    is_reported: bool = False

    def waits(self, now_s: float) -> bool:
        """Tell whether its time has not come, or its trial is under way."""
        return self.trial is not None or now_s < self.until_s

    def again(self, now_s: float, most_s: float) -> None:
        """Wait longer than the last time."""
        self.trial = None
        self.pause_s = min(2 * self.pause_s, max(most_s, self.pause_s))
        self.until_s = now_s + self.pause_s


@dataclass(slots=True)
class _Lane:
    """One topic. All up to `cursor` were looked at on this connection."""

    topic: str
    cursor: int = 0
    hold: _Hold | None = None
    aside: dict[int, _Hold] = field(default_factory=dict)
    blamed_in_a_row: int = 0

    def waits(self, now_s: float) -> bool:
        return self.hold is not None and self.hold.waits(now_s)

    def due(self, now_s: float) -> list[int]:
        """Return the messages that were set aside and are to be tried again."""
        return [number for number, hold in self.aside.items() if not hold.waits(now_s)]

    def holds(self) -> list[_Hold]:
        return [*([self.hold] if self.hold else []), *self.aside.values()]


class Lanes:
    """Decide which of the waiting messages may be sent now, connection after connection.

    Args:
        root: of the topics, for the messages to people.
        topics: last parts.
        longest_pause_s: between two tries of a refused topic.
    Attributes:
        is_careful: one message at a time, to find out which one ends the connection.
    """

    def __init__(self, root: str, topics: Iterable[str], longest_pause_s: float) -> None:
        self._lanes = {topic: _Lane(f"{root}/{topic}") for topic in topics}
        self._longest_s = longest_pause_s
        self._blames: dict[int, int] = {}
        self._reported_s: dict[tuple[str, str], float] = {}
        self.is_careful = False

    def connected(self, now_s: float) -> None:
        """Begin with the oldest message again, for what was under way was not acknowledged.

        What is held is tried a little later: if the broker then closes the connection, it has taken others.
        """
        for lane in self._lanes.values():
            lane.cursor = 0
            for hold in lane.holds():
                hold.trial = None
                hold.until_s = max(hold.until_s, now_s + SETTLE_S)

    def begin(self, now_s: float) -> int | None:
        """Return the number behind which there may be a message to send; None if all topics wait."""
        for lane in self._lanes.values():
            lane.cursor = min([lane.cursor, *(number - 1 for number in lane.due(now_s))])
        return min((lane.cursor for lane in self._lanes.values() if not lane.waits(now_s)), default=None)

    def may_send(self, topic: str, number: int, busy: Collection[int], now_s: float) -> bool:
        """Tell whether a message is to be sent now; one that is, counts as sent.

        Args:
            topic: last part.
            number: of the outbox.
            busy: numbers that are under way, or acknowledged and still in the outbox.
            now_s: monotonic seconds.
        """
        lane = self._lanes[topic]
        own = lane.aside.get(number)
        if number <= lane.cursor or number in busy or lane.waits(now_s):
            return False
        if own is not None and own.waits(now_s):
            return False
        for hold in (lane.hold, own):
            if hold is not None:
                hold.trial = number
        lane.cursor = number
        return True

    def looked(self, last: int, now_s: float) -> None:
        """Note that all up to a number were asked about."""
        for lane in self._lanes.values():
            if not lane.waits(now_s):
                lane.cursor = max(lane.cursor, last)
                for gone in [number for number in lane.due(now_s) if number <= last]:
                    del lane.aside[gone]

    def accepted(self, sent: Sequence[Sent]) -> list[News]:
        """Take in what the broker has acknowledged."""
        news = []
        for number, topic in sent:
            lane = self._lanes[topic]
            self.is_careful = False
            lane.blamed_in_a_row = 0
            if number is not None:
                lane.aside.pop(number, None)
                self._blames.pop(number, None)
            if lane.hold is not None and lane.hold.trial == number:
                if lane.hold.is_reported:
                    news.append(News("messages accepted", f"the broker takes {lane.topic} again"))
                lane.hold = None
        return news

    def refused(self, refusals: Sequence[RefusedMessage], now_s: float) -> list[News]:
        """Take in what the broker did not take."""
        news = []
        for number, topic, code, why in refusals:
            if number is not None and code in OF_ONE_MESSAGE:
                news += self.set_aside(topic, number, why, now_s)
            elif number is not None:
                news += self._hold(topic, number, why, now_s, FIRST_PAUSE_S, self._longest_s)
        return news

    def set_aside(self, topic: str, number: int, why: str, now_s: float) -> list[News]:
        """Let one message wait, and the others of its topic go on."""
        lane = self._lanes[topic]
        hold = lane.aside.get(number)
        if hold is None:
            hold = lane.aside[number] = _Hold(why, BLAMED_PAUSE_S, now_s + BLAMED_PAUSE_S)
        else:
            hold.why = why
            hold.again(now_s, MOST_BLAMED_PAUSE_S)
        if lane.hold is not None and lane.hold.trial == number:  # another message tries the topic
            lane.hold.trial = None
        return self._news("message set aside", lane, hold, now_s)

    def ended(self, under_way: Sequence[Sent], had_progress: bool, now_s: float) -> list[News]:
        """Take in that the broker ended the connection while messages were under way.

        Args:
            under_way: messages that were neither acknowledged nor refused.
            had_progress: another one was acknowledged on this connection.
            now_s: monotonic seconds.
        """
        tried = [sent for sent in under_way if sent.number is not None]
        numbers = {sent.number for sent in tried}
        for hold in (hold for lane in self._lanes.values() for hold in lane.holds()):
            if hold.trial is not None and hold.trial in numbers:
                hold.again(now_s, MOST_BLAMED_PAUSE_S)
        if had_progress or not tried:
            return []
        news = self._blame(tried[0], now_s) if self.is_careful and len(tried) == 1 else []
        self.is_careful = True
        return news

    def unanswered(self, under_way: Sequence[Sent]) -> None:
        """Take in that a connection ended before any answer came.

        TCP throws away what the broker answered if more is sent to a connection that the broker has closed:
        with many messages in flight, the refusal of one is then never read. No message is blamed for it.
        """
        self.is_careful |= any(sent.number is not None for sent in under_way)

    def warnings(self) -> list[str]:
        """Say what waits because it is refused, topic by topic."""
        lanes = self._lanes.values()
        warnings = [f"the broker refuses {lane.topic}: {lane.hold.why}" for lane in lanes if lane.hold]
        return warnings + [
            f"messages of {lane.topic} that are set aside: {len(lane.aside)}, {hold.why}"
            for lane in lanes
            for hold in list(lane.aside.values())[:1]
        ]

    def _blame(self, sent: Sent, now_s: float) -> list[News]:
        """Count a message that was alone under way; after too many times it is set aside, or its topic."""
        number, topic = sent
        if number is None:
            return []
        self._blames[number] = self._blames.get(number, 0) + 1
        if self._blames[number] < BLAMES:
            return []
        del self._blames[number]
        lane = self._lanes[topic]
        lane.blamed_in_a_row += 1
        if lane.blamed_in_a_row < MESSAGES_OF_A_TOPIC:
            return self.set_aside(topic, number, ENDS, now_s)
        return self._hold(topic, number, ENDS, now_s, BLAMED_PAUSE_S, MOST_BLAMED_PAUSE_S)

    def _hold(
        self, topic: str, number: int, why: str, now_s: float, pause_s: float, most_s: float
    ) -> list[News]:
        """Let a topic wait from a message on."""
        lane = self._lanes[topic]
        lane.cursor = min(lane.cursor, number - 1)
        if lane.hold is None:
            lane.hold = _Hold(why, pause_s, now_s + pause_s)
        elif lane.hold.trial == number:
            lane.hold.why = why
            lane.hold.again(now_s, most_s)
        return self._news("messages refused", lane, lane.hold, now_s)

    def _news(self, kind: NewsKind, lane: _Lane, hold: _Hold, now_s: float) -> list[News]:
        key = (lane.topic, hold.why)
        if now_s - self._reported_s.get(key, float("-inf")) < REPORTED_EVERY_S:
            return []
        self._reported_s[key], hold.is_reported = now_s, True
        return [News(kind, f"{lane.topic}: {hold.why}")]

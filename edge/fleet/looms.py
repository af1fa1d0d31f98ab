"""Keep what is known of each loom: when it was heard last, its state, a second device of its name."""

from __future__ import annotations

from collections.abc import Sequence

from edge.fleet.database import Connection
from edge.fleet.incoming import Incoming

HEARD = """
    INSERT INTO looms (loom, first_received_utc, last_received_utc, last_lag_s)
    VALUES (%(loom)s, %(at)s, %(at)s, %(lag_s)s)
    ON CONFLICT (loom) DO UPDATE SET
        last_received_utc = greatest(looms.last_received_utc, excluded.last_received_utc),
        first_received_utc = least(looms.first_received_utc, excluded.first_received_utc),
        last_lag_s = coalesce(excluded.last_lag_s, looms.last_lag_s)
"""
STATE = """
    UPDATE looms SET state = %(state)s, state_utc = %(at)s, loomsight = %(loomsight)s, camera = %(camera)s,
        installation = coalesce(%(installation)s, installation),
        name_conflict_utc = CASE WHEN installation <> %(installation)s AND EXISTS (
            SELECT 1 FROM installations i WHERE i.loom = %(loom)s AND i.installation = %(installation)s
        ) THEN %(at)s ELSE name_conflict_utc END
    WHERE loom = %(loom)s
"""
"""An installation that comes back after another one: there are two. A new one replaces the old one."""

SEEN = """
    INSERT INTO installations VALUES (%(loom)s, %(installation)s, %(at)s, %(at)s)
    ON CONFLICT (loom, installation) DO UPDATE SET last_utc = excluded.last_utc
"""


def write_looms(connection: Connection, messages: Sequence[Incoming]) -> None:
    """Write what messages tell of their looms, in the transaction of the caller.

    The state is that of the status that came last: a clock may be wrong, the order of the broker is not.

    Args:
        connection: in a transaction.
        messages: in the order in which they came.
    """
    last = {message.loom: message for message in messages}
    lags_s = {
        message.loom: (message.received_utc - message.fields["utc"]).total_seconds()
        for message in messages
        if "utc" in message.fields
    }
    for loom in sorted(last):
        values = {"loom": loom, "at": last[loom].received_utc, "lag_s": lags_s.get(loom)}
        connection.execute(HEARD, values)
    for message in messages:
        if message.topic == "status":
            status = {**message.fields, "loom": message.loom, "at": message.received_utc}
            connection.execute(STATE, status)
            if status["installation"] is not None:
                connection.execute(SEEN, status)

"""Read messages again that were refused: an update may understand them now."""

from __future__ import annotations

from base64 import b64decode

import psycopg

from edge.fleet.database import connected, unreachable
from edge.fleet.incoming import Arrival, Refused, read_message
from edge.fleet.migrate import check_version
from edge.fleet.partitions import Partitions
from edge.fleet.settings import OfficeSettings
from edge.fleet.writing import store

AT_ONCE = 500


def reread(settings: OfficeSettings) -> tuple[int, int]:
    """Store refused messages that are understood now; the others stay.

    Returns:
        How many are stored now, and how many are still refused.
    Raises:
        DatabaseError: if the database cannot be used, or has another schema.
    """
    prefix = settings.mqtt.prefix.rstrip("/")
    partitions, done, last = Partitions(), 0, ""
    with connected(settings.database) as connection:
        check_version(connection)
        try:
            while rows := connection.execute(
                "SELECT digest, topic, payload, received_utc FROM refused WHERE digest > %s "
                "ORDER BY digest LIMIT %s", (last, AT_ONCE)
            ).fetchall():  # fmt: skip
                last = rows[-1][0]
                arrivals = {row[0]: Arrival(row[1], b64decode(row[2]), row[3]) for row in rows}
                sound = {
                    digest: arrival
                    for digest, arrival in arrivals.items()
                    if not isinstance(read_message(arrival, prefix), Refused)
                }
                again = store(connection, list(sound.values()), prefix, partitions).refused
                kept = {(one.topic, one.payload) for one in again}
                gone = [
                    digest
                    for digest, arrival in sound.items()
                    if (arrival.topic, arrival.payload) not in kept
                ]
                connection.execute("DELETE FROM refused WHERE digest = ANY (%s)", (gone,))
                done += len(gone)
            left = connection.execute("SELECT count(*) FROM refused").fetchone()
        except psycopg.Error as error:
            raise unreachable(settings.database, error) from error
    return done, left[0] if left else 0

"""Collect what people said of defects, with the images as the network saw them: labels for training.

FOLDER/images/ab/<sha256>.png   each image once, by the digest of its content
FOLDER/train/, FOLDER/held-out/
    rolls/<roll id>.json        document of the roll, as its device gave it
    office-labels.json          loom, and image by defect, of each roll
    provenance.jsonl            a line for each verdict

Rolls are held out by their id: what is held out one week is held out in all others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

from edge.core.errors import ConfigError, LoomsightError, ReleaseError
from edge.core.files import write_whole
from edge.core.outside_files import IMAGE_BYTES
from edge.fleet.database import Connection, connected, unreachable
from edge.fleet.devices import Device, devices_of
from edge.fleet.migrate import check_version
from edge.fleet.settings import OfficeSettings

logger = logging.getLogger(__name__)

INDEX_NAME: Final = "office-labels.json"
PROVENANCE_NAME: Final = "provenance.jsonl"
FORMAT: Final = 1
HELD_OUT: Final = 5
"""Every fifth roll is held out."""

DOCUMENT_BYTES: Final = 256 * 2**20
ROLL_ID: Final = re.compile(r"[0-9a-f]{32}")
PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(slots=True)
class Collected:
    """Count what was collected.

    Attributes:
        problems: what was left out, and why.
    """

    rolls: int = 0
    verdicts: int = 0
    images: int = 0
    problems: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the counts in words."""
        return f"{self.rolls} rolls, {self.verdicts} verdicts, {self.images} new images" + (
            f"; left out: {len(self.problems)}" if self.problems else ""
        )


@dataclass(frozen=True, slots=True)
class JudgedRoll:
    """Name a roll that somebody judged defects of, and when the last time."""

    loom: str
    roll_id: str
    article: str
    last_utc: str


def collect(settings: OfficeSettings, out: Path, days: float, per_article: int | None) -> Collected:
    """Fetch judged rolls and their images; what is there already is not fetched again.

    Args:
        settings: of the office, with the pages of the devices.
        out: folder; it grows.
        days: verdicts of so many days up to now.
        per_article: most rolls of one article, the newest ones; None for all.
    Raises:
        ConfigError: if no page is named.
        DatabaseError: if the database cannot be used.
        OutputError: if the folder cannot be written.
    """
    devices = devices_of(settings.pages)
    with connected(settings.database) as connection:
        check_version(connection)
        try:
            judged = judged_rolls(connection, days)
        except psycopg.Error as error:
            raise unreachable(settings.database, error) from error
    done = Collected()
    for roll in balanced(judged, per_article):
        try:
            _take(roll, devices, out, done)
        except LoomsightError as error:
            done.problems.append(f"roll {roll.roll_id} of {roll.loom}: {error}")
    for part in ("train", "held-out"):
        _write_provenance(out / part)
    return done


def judged_rolls(connection: Connection, days: float) -> list[JudgedRoll]:
    """Return the rolls that people judged defects of, the newest verdict first."""
    rows = connection.execute(
        "SELECT loom, roll_id, coalesce(max(article), ''), max(utc) FROM last_verdicts "
        "WHERE verdict <> 'undone' AND utc >= now() - make_interval(secs => %s) AND roll_id IS NOT NULL "
        "GROUP BY loom, roll_id ORDER BY max(utc) DESC, roll_id",
        (days * 86_400,),
    )
    return [JudgedRoll(loom, roll, article, str(utc)) for loom, roll, article, utc in rows]


def balanced(rolls: list[JudgedRoll], per_article: int | None) -> list[JudgedRoll]:
    """Keep so many rolls of each article, the newest ones."""
    kept: dict[str, int] = defaultdict(int)
    found = []
    for roll in rolls:
        kept[roll.article] += 1
        if per_article is None or kept[roll.article] <= per_article:
            found.append(roll)
    return found


def part_of(roll_id: str) -> str:
    """Return where a roll belongs, whatever else there is."""
    return "held-out" if int(hashlib.sha256(roll_id.encode()).hexdigest(), 16) % HELD_OUT == 0 else "train"


def _take(roll: JudgedRoll, devices: dict[str, Device], out: Path, done: Collected) -> None:
    """Fetch a roll: its document, and the images of what was judged."""
    device = devices.get(roll.loom)
    if device is None:
        raise ConfigError("its page is not known.", f'Set "{roll.loom}" in [pages.url].')
    if not ROLL_ID.fullmatch(roll.roll_id):
        raise ReleaseError("its id is none of a record.", "Look at the device.")
    text = device.fetch(f"api/v1/rolls/{quote(roll.roll_id)}", DOCUMENT_BYTES)
    try:
        document: dict[str, Any] = json.loads(text)
        records = document["technical"]["defects"]
        judged = [
            (record, defect)
            for record, defect in zip(records, document["defects"], strict=True)
            if defect["verdict"] is not None
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReleaseError("its device answers with no document.", "Update loomsight there.") from error
    folder = out / part_of(roll.roll_id)
    index = _read_index(folder)
    before = index["rolls"].get(roll.roll_id, {}).get("images", {})
    images: dict[str, str] = {}
    for record, _ in judged:
        event_id = str(record["event_id"])
        found = _image(event_id, device, out, before.get(event_id), done)
        if found is None:
            done.problems.append(f"defect {event_id} of {roll.loom}: no image was saved, or it is gone")
        else:
            images[event_id] = found
    write_whole(folder / "rolls" / f"{roll.roll_id}.json", text)
    index["rolls"][roll.roll_id] = {"loom": roll.loom, "images": images}
    write_whole(folder / INDEX_NAME, json.dumps(index, indent=1, sort_keys=True).encode() + b"\n")
    done.rolls += 1
    done.verdicts += len(judged)


def _image(event_id: str, device: Device, out: Path, known: str | None, done: Collected) -> str | None:
    """Return the image of a defect below `images/`; None where its device has none."""
    if known is not None and (out / "images" / known).is_file():
        return known
    data = device.fetch_or_none(f"api/v1/defects/{quote(event_id)}/image", IMAGE_BYTES)
    if data is None or not data.startswith(PNG):
        return None
    digest = hashlib.sha256(data).hexdigest()
    name = f"{digest[:2]}/{digest}.png"
    if not (out / "images" / name).is_file():
        write_whole(out / "images" / name, data)
        done.images += 1
    return name


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_NAME
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rolls").mkdir(exist_ok=True)
        return {"format": FORMAT, "images": "../images", "rolls": {}}
    try:
        index: dict[str, Any] = json.loads(path.read_bytes())
        index["rolls"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged.", "Delete it; all is fetched again.") from error
    return index


def _write_provenance(folder: Path) -> None:
    """Say of each verdict where it comes from."""
    if not (folder / INDEX_NAME).is_file():
        return
    lines = []
    for roll_id, known in sorted(_read_index(folder)["rolls"].items()):
        document = json.loads((folder / "rolls" / f"{roll_id}.json").read_bytes())
        technical, header = document["technical"], document["header"]
        for record, defect in zip(technical["defects"], document["defects"], strict=True):
            if defect["verdict"] is not None:
                lines.append(
                    {
                        "loom": known["loom"],
                        "roll_id": roll_id,
                        "roll": header["roll"],
                        "article": header["article"],
                        "event_id": record["event_id"],
                        "start_m": defect["start_m"],
                        "class_name": defect["class_name"],
                        "verdict": defect["verdict"],
                        "named": defect["named"],
                        "verdict_by": record["verdict_by"],
                        "model_digest": technical["model_digest"],
                        "image": known["images"].get(record["event_id"]),
                    }
                )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_whole(folder / PROVENANCE_NAME, text.encode())
